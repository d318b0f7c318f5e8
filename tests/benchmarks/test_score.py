"""The benchmark of bulk scoring runs from end to end, and compares like with like."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import decode, score


@pytest.mark.slow
def test_one_and_two_workers_write_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prevents a ratio of two different works: all users are scored by each, to the same bytes."""
    for module in (decode, score):
        monkeypatch.setattr(module, "BEAUTY", tmp_path / "not there")
        monkeypatch.setattr(module, "TOKENIZER_SIZE", 400)
    monkeypatch.setitem(decode.SIZES, "tiny", ("d_model=16,layers=1,heads=2", 400, 3, 2))
    monkeypatch.setattr(decode.synthetic, "__defaults__", (300, 20))
    figures = score.run("tiny", users=30, shard_users=8, workers=[1, 2], beams=4, loop_users=4)
    assert figures["identical"] and figures["data"] == "synthetic"
    assert figures["users_per_s_1_running"] > figures["users_per_s_1"] > 0
    assert figures["users_per_s_2_running"] > figures["users_per_s_2"] > 0
    assert figures["users_per_s_one_at_a_time"] > 0 and figures["ratio"] > 0
