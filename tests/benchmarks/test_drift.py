"""The benchmarks of drift and of new items, at sizes of a test."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import add_items, drift


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return found


def test_drift_is_found_and_nothing_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: a benchmark that counts alarms of a shop that has changed, or finds none in one that has."""
    monkeypatch.setattr(sys, "argv", ["drift", "--weeks", "6", "--series", "5", "--events", "800", "--items", "500"])
    drift.main()
    found = result(capsys)
    assert (found["false_alarms"], found["weeks_without_drift"], found["series_with_drift"]) == (0, 6, 5)
    assert found["undetected"] == 0 and 1 <= float(str(found["mean_delay_weeks"])) <= 12


def test_a_new_item_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: seconds of an item that nobody is recommended."""
    monkeypatch.setattr(sys, "argv", ["add_items", "--items", "1500", "--raw", ""])
    add_items.main()
    found = result(capsys)
    assert found["items"] == 1500 and float(str(found["seconds_until_recommendable"])) > 0
