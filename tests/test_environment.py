"""What a process finds in its environment."""

from __future__ import annotations

import os

import pytest

from components.environment import cores


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
