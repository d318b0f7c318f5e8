"""Locks: one holder at a time, and none that outlives its process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import BadInput
from components.storage.lock import locked, take, users_lock

HOLDING = """
import pathlib, sys, time
from components.storage.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
BUSY = BadInput("another one is at work", where="here", mend="wait for it")


def test_a_lock_is_for_one_holder_until_that_one_dies(tmp_path: Path) -> None:
    """Prevents two scorings that write one output, and a lock that a killed process leaves for ever. One who waits gets
    it: the kill comes before the wait begins to count."""
    path = tmp_path / "not yet there" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(BadInput, match="at work"), locked(path, BUSY, seconds=0.0):
            pass
        assert take(path) is None
        process.kill()
    with locked(path, BUSY, seconds=60.0), pytest.raises(BadInput), locked(path, BUSY, seconds=0.0):
        pass
    assert path.exists()


def test_a_process_that_inherits_the_descriptor_holds_the_lock(tmp_path: Path) -> None:
    """Prevents a second grid that works beside the trainings of one whose own process was killed."""
    with locked(tmp_path / "lock") as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    try:
        assert take(tmp_path / "lock") is None
    finally:
        child.kill()
        child.wait()
    started = time.monotonic()
    with locked(tmp_path / "lock"):
        assert time.monotonic() - started < 60


def test_locks_of_a_shared_folder_have_different_names(tmp_path: Path) -> None:
    """Prevents two stores that wait for each other."""
    assert users_lock(tmp_path, "register-a") != users_lock(tmp_path, "register-b")
