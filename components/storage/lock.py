"""Lock a file, for one process of this machine at a time.

    with locked(folder / "lock", BadInput("another call works here", where=..., mend=...), seconds=0.0):
        ...

The lock is the system's (`flock`), so it ends with the process that holds it, however that ends. The file stays: two
processes must never lock two different ones.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from components.errors import StageError

_LOOK_SECONDS = 0.1


@contextmanager
def locked(
    path: Path, busy: StageError | None = None, *, seconds: float = math.inf, shared: bool = False
) -> Iterator[int]:
    """Hold the lock of `path` inside the block; yields its descriptor: a process that inherits it holds it as well.

    Waits `seconds` for another holder, then raises `busy`. shared: beside others who share it.
    """
    stream = take(path, seconds, shared=shared)
    if stream is None:
        raise busy or TimeoutError(f"another process holds the lock {path}")
    with stream:
        yield stream.fileno()


def take(path: Path, seconds: float = 0.0, *, shared: bool = False) -> TextIO | None:
    """The locked file, whose lock is held until it is closed; None where another holds it for `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream, until = path.open("a"), time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return stream
        except BlockingIOError:
            if time.monotonic() >= until:
                stream.close()
                return None
            time.sleep(_LOOK_SECONDS)


def users_lock(folder: Path, name: str) -> Path:
    """Path of a lock in a folder that all users of a machine share; another user's file could not be opened."""
    return folder / f"idiom-{os.getuid()}-{name}.lock"
