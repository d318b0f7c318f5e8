"""DVC's list of who reads and writes what (`.dvc/tmp/rwlock`): a broken one stops every run until somebody removes it.

DVC itself lets go what dead processes hold; but it opens the file anew to write it, and a machine that dies there
leaves it empty or cut off, which DVC cannot read. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any

RWLOCK, GUARD = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/rwlock.lock")


def holders(workspace: Path) -> list[int]:
    """Processes in the list that live; of a broken list those whose numbers can still be read."""
    try:
        text = (workspace / RWLOCK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    numbers = {int(number) for number in re.findall(r'"pid":\s*(\d{1,9})', text)}
    return sorted(number for number in numbers if _lives(number))


def broken(workspace: Path) -> bool:
    """Whether there is such a list and DVC cannot read it."""
    try:
        content: Any = json.loads((workspace / RWLOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    known = isinstance(content, dict) and set(content) <= {"read", "write"}
    return not (known and all(isinstance(each, dict) for each in content.values()))


def names_the_dead(workspace: Path) -> bool:
    """Whether the list names processes, and none of them lives."""
    try:
        named = '"pid"' in (workspace / RWLOCK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return named and not holders(workspace)


def mend(workspace: Path, *, dead: bool = False) -> str | None:
    """Remove a list that DVC cannot read if no process of it lives; returns what was done, None for nothing.

    dead: also one that can be read and names processes that ended, of which DVC lets go by itself when it next looks.
    DVC's own guard is held meanwhile, so that no list is removed that is just being written.
    """

    def useless() -> bool:
        return broken(workspace) or (dead and names_the_dead(workspace))

    if not useless():
        return None
    guard = workspace / GUARD
    try:
        with guard.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not useless() or holders(workspace):
                return None
            why = "could not be read (a run died while writing it)" if broken(workspace) else "names ended runs"
            (workspace / RWLOCK).unlink()
    except OSError:  # somebody else holds the guard, or the folder cannot be written
        return None
    return f"{RWLOCK} {why} and no process holds it: removed"


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
