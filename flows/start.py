"""`idiom retrain --from`: what a training goes on from, brought into the workspace and written into params.yaml.

    start_from(workspace, "champion")              # or "champion-if-any", "12", "scratch"

The folder is named by the SHA-256 of what lies in it: DVC sees another start by its name, and `idiom repro` goes
on from the same one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.registry.champion import CHAMPION, bundle_with, kept_bundle
from components.registry.store import answering, connect
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import publishing

SCRATCH = "scratch"
CHAMPION_IF_ANY = "champion-if-any"
"""The champion where there is one, else `scratch`: what a schedule begins with in a new workspace."""
_TRAIN = re.compile(r"train:[ \t]*(\{[ \t]*\})?[ \t]*(#.*)?\n?$")


def start_from(workspace: Path, which: str) -> str:
    """Bring the bundle of a version (number or alias), or none for `scratch`; set `train.start`; say what was done.

    `champion-if-any` is the champion, or `scratch` where no version is champion yet.

    Raises `BadInput` where there is no such version, or params.yaml cannot be edited; nothing has changed then but that
    the bundle may lie in work/bundles already.
    """
    path = workspace / "params.yaml"
    params = load(path)
    if which == CHAMPION_IF_ANY:
        which = CHAMPION if _has_champion(workspace, params) else SCRATCH
    start, said = None, "training begins from the beginning"
    if which != SCRATCH:
        bundle, number = kept_bundle(workspace, params, which)
        start = bundle.relative_to(workspace).as_posix()
        said = f"training goes on from version {number} of {params.register.model_name} ({start})"
    text = path.read_text(encoding="utf-8")
    changed = with_start(text, start, where=str(path))
    if changed != text:
        with publishing(path) as temporary:
            temporary.write_text(changed, encoding="utf-8")
    return said


def _has_champion(workspace: Path, params: Params) -> bool:
    with answering(workspace):
        found = connect(workspace).search_registered_models(f"name = '{params.register.model_name}'")
    return any(CHAMPION in each.aliases for each in found)


def bring_start(workspace: Path, params: Params, settings: str, place: Path) -> str | None:
    """Link what the params.yaml `settings` goes on from into another workspace; returns its folder, None without one.

    It is looked for here, then among the versions in MLflow. Raises `BadInput` where nobody has it.
    """
    start = _read(settings).get("train", {}).get("start")
    if start is None or (place / start).exists():
        return start
    here = workspace / start
    if not here.is_dir():
        here = bundle_with(workspace, params, Path(start).name)
    (place / start).parent.mkdir(parents=True, exist_ok=True)
    (place / start).symlink_to(here.resolve(), target_is_directory=True)
    return str(start)


def with_start(text: str, start: str | None, *, where: str = "params.yaml") -> str:
    """The text of a params.yaml with this `train.start`; every other line, comments among them, stays as it is.

    Raises `BadInput` where its section `train` is written in one line.
    """
    lines = text.splitlines(keepends=True)
    heads = [at for at, line in enumerate(lines) if _TRAIN.match(line)]
    if heads:
        at = heads[0]
        end = next((n for n in range(at + 1, len(lines)) if re.match(r"[^\s#]", lines[n])), len(lines))
        children = [n for n in range(at + 1, end) if re.match(r"[ \t]+[^\s#]", lines[n])]
        indent = re.match(r"[ \t]*", lines[children[0]])[0] if children else "  "  # type: ignore[index]
        own = [n for n in children if lines[n].startswith(f"{indent}start:")]
        new = [] if start is None else [f"{indent}start: {start}\n"]
        if own and own == children and not new:  # an empty section would be null
            lines[at], lines[own[0]] = "train: {}\n", ""
        elif own:
            lines[own[0] : own[0] + 1] = new
        elif new:
            head = lines[at] if children else "train:\n"
            lines[at : at + 1] = [head if head.endswith("\n") else f"{head}\n", *new]
    elif start is not None and "train" not in _read(text):
        lines += ["" if not lines or lines[-1].endswith("\n") else "\n", f"train:\n  start: {start}\n"]
    changed = "".join(lines)
    if _wanted(_read(text), start) != _wanted(_read(changed), start) or _start_of(changed) != start:
        raise BadInput(
            "the section `train` is written in a way that is not edited for you",
            where=where,
            mend=f"write train.start: {start or 'null'} there, then run the command without --from",
        )
    return changed


def _read(text: str) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(text) or {})


def _wanted(settings: dict[str, Any], start: str | None) -> dict[str, Any]:
    return {**settings, "train": {**(settings.get("train") or {}), "start": start}}


def _start_of(text: str) -> str | None:
    return (_read(text).get("train") or {}).get("start")
