"""The benchmark of writing IDs, on a few items: it must compare like with like."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import generate_ids


def test_both_ways_write_the_same_and_the_table_is_unique(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a ratio of two ways that do different work, and more than one line of output."""
    small = ["--items", "12", "--single-items", "3", "--repeats", "1", "--size", "d_model=16,layers=1,heads=2"]
    monkeypatch.setattr(generate_ids, "BEAUTY", generate_ids.BEAUTY / "not-here")  # a made-up catalogue is quick
    monkeypatch.setattr(sys, "argv", ["generate_ids", "--vocabulary-size", "512", *small])
    generate_ids.main()
    figures = json.loads(capsys.readouterr().out)
    assert figures["equal"] and figures["unique"]
    assert figures["ratio"] > 0 and figures["items"] == 12
