"""Work folders that nobody came back to: work/DATASET/KEY of trainings with other inputs, settings or code.

Each change begins a folder of its own, so that going back to what was before finds its checkpoint. Most are never gone
back to. There is no lock to ask: a training writes into its folder every `checkpoint_seconds`, so that one which stands
still for a week is over.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

DAYS = 7
"""Folders in which anything was written since are left alone: that training runs, or may be gone on with."""
_KEY = re.compile(r"[0-9a-f]{16}")


def remove_abandoned(work: Path, note: Callable[[str], None]) -> None:
    """Remove the folders beside `work` in which a training stopped more than `DAYS` days ago; each is named.

    Only what the stage `train` names (16 hexadecimal digits, with a job in it) is a candidate, and never `work` itself.
    """
    oldest = time.time() - DAYS * 86_400
    for folder in sorted(work.parent.iterdir()):
        mine = _KEY.fullmatch(folder.name) and (folder / "job.json").is_file() and not folder.is_symlink()
        if mine and folder != work and _last_written(folder) < oldest:
            shutil.rmtree(folder, ignore_errors=True)  # a pair is published: what cannot be removed is no failure of it
            left = "what could be of " if folder.exists() else ""
            note(f"removed {left}{folder}: a training of other inputs or settings, untouched for {DAYS} days")


def _last_written(folder: Path) -> float:
    """Seconds since the epoch; a file that goes away meanwhile is somebody's at work."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()
