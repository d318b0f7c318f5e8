"""Publish a file or directory atomically; read a JSON artifact.

Standard library only. An artifact is written under a temporary name on the same file system, fsynced and
renamed: a reader sees the old one or the new one, never half. A directory gets a manifest as well
(`manifest.py`); where each artifact lives is in `layout.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import BadInput


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to (file or directory); on success it replaces `path`.

    On an exception the temporary is removed and what was at `path` stays as it was.
    """
    with publishing_together(path) as (temporary,):
        yield temporary


@contextmanager
def publishing_together(*paths: Path) -> Iterator[list[Path]]:
    """`publishing` for artifacts that belong together: every one is whole on the disk before the first is replaced.

    A disk that is full at the third table of a stage must not leave two new ones beside an old one.
    """
    temporaries = [path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp" for path in paths]
    for path in paths:
        _make_folder(path.parent)
    try:
        yield temporaries
        for temporary, path in zip(temporaries, paths, strict=True):
            if not temporary.exists():
                raise RuntimeError(f"nothing was written for {path}")
            _fsync_tree(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            if temporary.is_dir() and path.is_dir():
                _swap_directories(temporary, path)
            else:
                temporary.replace(path)
            _fsync(path.parent)
    finally:
        for temporary in temporaries:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    """Make `path` and its parents. Raises `BadInput` where a file stands in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        blocking = next(each for each in (path, *path.parents) if each.exists())
        raise BadInput(
            "a file stands where a folder is needed", where=str(blocking), mend="move it away, then run this again"
        ) from error


def publish_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically: equal values give equal bytes."""
    with publishing(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON artifact. Raises `BadInput` if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise missing(path) from error
    except ValueError as error:
        raise BadInput(f"not readable as JSON: {error}", where=str(path), mend="delete it and run dvc repro") from error


def missing(path: Path) -> BadInput:
    return BadInput("artifact is missing", where=str(path), mend="run the stage that writes it: dvc repro")


def _swap_directories(new: Path, old: Path) -> None:
    """Exchange two directories in one step, since a rename cannot replace a directory that is not empty.

    Linux does it atomically (renameat2 with RENAME_EXCHANGE); elsewhere two renames leave a moment with no `old`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2
    if hasattr(libc, "renameat2") and libc.renameat2(at_cwd, os.fsencode(new), at_cwd, os.fsencode(old), exchange) == 0:
        return
    aside = new.with_suffix(".old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _fsync_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _fsync_tree(child)
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
