"""The soak's own counting; the nights themselves are what `tests/infra/test_stack.py` does once."""

from __future__ import annotations

from benchmarks.soak import _growth


def test_growth_is_of_processes_that_stayed() -> None:
    """Prevents: a server that was started anew counted as one that shrank, and a leak hidden by it."""
    steady = [{"prefect": (1, 200.0), "worker": (2, 100.0 + 10 * night)} for night in range(9)]
    assert _growth(steady) == 60.0
    restarted = [{"prefect": (1, 200.0 + night)} for night in range(3)]
    restarted += [{"prefect": (9, 150.0 + 2 * night)} for night in range(6)]
    assert _growth(restarted) == 8.0
    assert _growth([{"prefect": (1, 200.0)}, {"prefect": (2, 200.0)}]) is None
