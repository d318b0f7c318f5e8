"""The benchmarks of this room run and compare like with like; a figure from unequal answers would be worth nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import decode
from benchmarks import trie as trie_benchmark


def test_decoders_agree_on_made_up_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the real data the benchmark makes words up; all decoders must still give the same items."""
    monkeypatch.setattr(decode, "BEAUTY", tmp_path / "not there")
    monkeypatch.setattr(decode, "TOKENIZER_SIZE", 400)
    monkeypatch.setitem(decode.SIZES, "tiny", ("d_model=16,layers=1,heads=2", 400, 3, 2))
    monkeypatch.setattr(decode.synthetic, "__defaults__", (300, 20))
    figures = decode.run("tiny", users=3, slow_users=2, beams=4)
    assert figures["top_k_equal"] and figures["illegal"] == 0 and figures["data"] == "synthetic"
    assert figures["max_score_difference"] < 1e-4


@pytest.mark.parametrize("items", [100, 5000])
def test_made_up_ids_are_unique(items: int) -> None:
    """The trie refuses equal IDs, and a benchmark of fewer items than it says would flatter."""
    offsets, values = trie_benchmark.synthetic_ids(items)
    sequences = {tuple(part) for part in np.split(values, offsets[1:-1])}
    assert len(sequences) == items
    assert trie_benchmark.measure(items)["items"] == items
