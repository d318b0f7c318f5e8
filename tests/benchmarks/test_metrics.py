"""The benchmark of an evaluation's figures runs, and its figures are those of ir-measures."""

from __future__ import annotations

from benchmarks.metrics import run


def test_both_sides_are_measured_and_agree() -> None:
    """Prevents a ratio between two different figures: the run ends where ir-measures finds another value."""
    found = run(600, 50)
    assert found["benchmark"] == "metrics" and found["ratio_users_per_s"] > 0
    assert set(found["parts_s"]) == {"ranks", "per_user", "intervals", "breadth", "exposure", "repeats"}
