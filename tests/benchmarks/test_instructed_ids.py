"""The benchmark of IDs by an instruct model, with a random one and a few items."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import generate_ids, instructed_ids
from components.networks.tokenizer import load_tokenizer, save_tokenizer
from tests.textid.writing.test_instructed import TEMPLATE
from tests.training.pretrained import checkpoint


def test_the_extrapolation_follows_from_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a figure for twelve thousand items that nobody can trace to one that was measured."""
    folder = checkpoint(tmp_path / "model", "qwen2")
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = TEMPLATE
    save_tokenizer(tokenizer, folder)
    monkeypatch.setattr(generate_ids, "BEAUTY", tmp_path / "not-here")
    monkeypatch.setattr(sys, "argv", ["instructed_ids", "--writer", str(folder), "--items", "12"])
    instructed_ids.main()
    found = json.loads(capsys.readouterr().out)
    speed = found["model"]["items_per_cpu_second"]
    assert found["extrapolated_minutes"] == pytest.approx(12_000 / speed / 120, abs=0.06)
    assert found["items"] == 12 and found["ratio"] == pytest.approx(
        speed / found["rule"]["items_per_cpu_second"], rel=1e-3, abs=1e-6
    )
