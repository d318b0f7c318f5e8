"""The benchmark of true IDs on the whole demo shop, by a generator with random weights."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import true_ids


def test_the_demo_shop_says_nothing_false_and_tells_its_twins_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a newcomer's first run that writes another brand's name into an ID, or two colours with one."""
    small = ["--steps", "0", "--size", "d_model=16,layers=1,heads=2", "--vocabulary-size", "2048"]
    monkeypatch.setattr(sys, "argv", ["true_ids", "demo", *small])
    true_ids.main()
    figures = json.loads(capsys.readouterr().out)
    faithful, any_words = figures["faithful"], figures["any_words"]
    assert (faithful["items"], faithful["false_words"], faithful["own_word_share"]) == (any_words["items"], 0, 1.0)
    assert faithful["near_twins"] == any_words["near_twins"] > 300
    assert faithful["distinguished"] >= 0.95 > any_words["distinguished"]
    assert any_words["false_id_share"] > 0.5, "or random weights would not show a difference"
