"""Folders in a job's work folder that are made once: by the first rank, for all ranks and for a resumed training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from components.errors import BadInput
from components.storage.artifacts import publishing
from components.storage.manifest import verify_manifest, write_manifest
from components.training.devices.ranks import Ranks


def once(folder: Path, key: str, ranks: Ranks, write: Callable[[Path], None]) -> Path:
    """`folder`, as `write` fills it; the first rank does, unless it is there, whole and of this `key`. Others wait.

    It appears whole or not at all. What a killed process has left beside it is removed.
    """
    if ranks.first and not _whole(folder, key):
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left)
        with publishing(folder) as temporary:
            temporary.mkdir()
            write(temporary)
            write_manifest(temporary, key=key)
    ranks.wait()
    return folder


def _whole(folder: Path, key: str) -> bool:
    try:
        return bool(verify_manifest(folder).get("key") == key)
    except BadInput:  # missing or damaged: it is made again, from inputs that are all there
        return False
