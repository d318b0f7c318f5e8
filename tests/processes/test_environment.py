"""The cores that a process may use; processes that others started end with them, and never because of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from components.processes.environment import cores

WATCHING = """
import sys, time
from components.processes.environment import stop_with_the_parent
stop_with_the_parent()
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("closed", "code"), [(True, -15), (False, 0)], ids=["parent gone", "parent there"])
def test_the_end_of_the_parent_is_seen_and_waited_for_by_nobody(closed: bool, code: int) -> None:
    """Prevents a rank that outlives its command, and one that dies of SIGABRT at its own end: Python's, where a thread
    waits in sys.stdin's buffer. The pause lets the thread begin to wait."""
    command = [sys.executable, "-c", WATCHING, "60" if closed else "0.5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        if closed:
            process.stdin.close()
        assert process.wait() == code, process.stderr.read()


def test_only_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents 64 trainings at a time in a job that was given two of the 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cores() == 2


@pytest.mark.parametrize(("counted", "expected"), [(8, 8), (None, 1)])
def test_systems_that_tell_no_affinity(monkeypatch: pytest.MonkeyPatch, counted: int | None, expected: int) -> None:
    """Prevents an AttributeError on macOS, and no process at all where nobody can count."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert cores() == expected
