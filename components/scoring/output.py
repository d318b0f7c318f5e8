"""Refuse to replace anything but earlier scores at the output of a scoring.

A misspelt `--out` must not cost a workspace, a model or the histories themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.storage.artifacts import read_json
from components.storage.manifest import MANIFEST

KIND = "scores"
"""What the manifest of an output says it is."""
_MEND = "a scoring replaces the whole folder: give another --out"


def refuse_others(out: Path, *kept: Path) -> None:
    """Raise `BadInput` unless `out` is absent, an empty folder or scores of ours, with none of `kept` inside.

    Nor may it lie inside of what has a manifest, a bundle say: that would not be what its manifest says any more.

    Scores whose manifest is damaged are ours as long as nothing but their parts lies beside it.
    """
    out = out.resolve()
    standing = next(each for each in (out, *out.parents) if each.exists())
    if not standing.is_dir():
        mend = "give another --out, or move the file away"
        raise BadInput("a file stands where a folder is needed", where=str(standing), mend=mend)
    for path in kept:
        if path.resolve().is_relative_to(out):
            raise BadInput(f"the output would replace {path}, which lies in it", where=str(out), mend=_MEND)
    for parent in out.parents:
        if (parent / MANIFEST).is_file():
            raise BadInput(f"the output would lie inside of {parent}, which is published", where=str(out), mend=_MEND)
    names = {each.name for each in out.iterdir()} if out.exists() else set()
    others = {name for name in names if not _is_part(name)} - {MANIFEST}
    manifest = manifest_of(out)
    ours = MANIFEST in names and not others if manifest is None else manifest.get("kind") == KIND
    if names and not ours:
        damaged = "its manifest is damaged, and it" if manifest is None and MANIFEST in names else "the output"
        what = f"{damaged} holds what is no scores of ours, such as {min(others or names)}"
        raise BadInput(what, where=str(out), mend=f"{_MEND}, or move the rest out of it")


def manifest_of(out: Path) -> dict[str, Any] | None:
    """What the manifest of `out` says; None where it is missing or damaged."""
    try:
        found = read_json(out / MANIFEST)
    except BadInput:  # half of one tells as much as none
        return None
    return found if isinstance(found, dict) else None


def _is_part(name: str) -> bool:
    return Path(name).match("part-*.parquet")
