"""Files of DVC's cache that no longer are what their name says: a disk that lies, an editor, a copy that broke off.

    for path in damaged(workspace): ...        # those of dvc.lock and of the drops, each hashed
    mend(workspace)                            # removes them, and brings them back from the remote or the workspace

A file in the cache is named by the MD5 of its content. DVC believes a file there as long as it is read-only, so that a
damaged one is handed out as the real one.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.push import default_remote
from flows.repro import dvc_environment

_LOCK = "dvc.lock"
_DIR = ".dir"


@dataclass(frozen=True)
class Mended:
    """What came of damaged files."""

    back: tuple[str, ...]
    """MD5 of those that are back, and right."""
    lost: tuple[str, ...]
    """MD5 of those that neither the remote nor the workspace has."""


def damaged(workspace: Path) -> list[Path]:
    """Files of the cache that dvc.lock or a drop's .dvc file names and whose content is another one. Reads all of them;
    older versions are not looked at."""
    return [path for path in _named(workspace) if path.is_file() and _md5(path) != _name(path)]


def mend(workspace: Path, found: list[Path]) -> Mended:
    """Remove damaged files and bring them back: from the default remote, else from the outputs that lie here."""
    for path in found:
        path.chmod(0o644)
        path.unlink()
    if default_remote(workspace):
        _dvc(workspace, "fetch")
    if not all(path.is_file() for path in found):
        # An output that is as dvc.lock says is the same file: nothing is committed that it does not name.
        wanted = {_name(path): path for path in found if not path.is_file()}
        for file in _outputs(workspace):
            if (target := wanted.get(_md5(file))) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
                target.chmod(0o444)
    right = {path for path in found if path.is_file() and _md5(path) == _name(path)}
    return Mended(tuple(_name(path) for path in found if path in right),
                  tuple(_name(path) for path in found if path not in right))  # fmt: skip


def _named(workspace: Path) -> Iterator[Path]:
    """Paths in the cache of all that stages and drops brought: files, listings of folders, and what stands in those."""
    cache, seen = _cache(workspace), set[str]()
    for _, md5 in _outs(workspace):
        if not md5 or md5 in seen:
            continue
        seen.add(md5)
        listing = cache / md5[:2] / md5[2:]
        yield listing
        if md5.endswith(_DIR) and listing.is_file():
            try:
                inside = json.loads(listing.read_text(encoding="utf-8"))
            except ValueError:  # it is among the damaged ones itself
                continue
            for each in inside:
                yield cache / each["md5"][:2] / each["md5"][2:]


def _outs(workspace: Path) -> Iterator[tuple[Path, str]]:
    """Path and MD5 of each output of dvc.lock, and of each data set's drops."""
    lock = workspace / _LOCK
    found = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}) if lock.is_file() else {}
    for stage in found.get("stages", {}).values():
        for out in stage.get("outs", []):
            yield workspace / out["path"], out.get("md5", "")
    for file in sorted((workspace / "data" / "drops").glob("*.dvc")):
        for out in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("outs", []):
            yield file.parent / out["path"], out.get("md5", "")


def _outputs(workspace: Path) -> Iterator[Path]:
    """The files of all outputs that lie in the workspace."""
    for path, _ in _outs(workspace):
        if path.is_dir():
            yield from (each for each in path.rglob("*") if each.is_file())
        elif path.is_file():
            yield path


def _cache(workspace: Path) -> Path:
    done = subprocess.run(["dvc", "cache", "dir"], cwd=workspace, env=dvc_environment(), capture_output=True, text=True)
    said = done.stdout.strip()
    return Path(said if done.returncode == 0 and said else workspace / ".dvc" / "cache") / "files" / "md5"


def _name(path: Path) -> str:
    return (path.parent.name + path.name).removesuffix(_DIR)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _dvc(workspace: Path, *words: str) -> None:
    subprocess.run(["dvc", *words], cwd=workspace, env=dvc_environment(), capture_output=True, text=True)
