"""benchmarks/hybrid.py runs from end to end on a small shop, with the keys that its readers look for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import hybrid, peers


def test_every_mode_and_voice_has_a_figure() -> None:
    """Prevents a table of costs whose keys moved, or a mode that was not asked."""
    chosen = argparse.Namespace(
        catalogue=[60], users=4, size="micro", rank_up_to=1000, dataset=None, peers_python=None, quick=True
    )
    found = hybrid.run(chosen)
    (row,) = found["rows"]
    for mode in ("generate", "rank", "hybrid"):
        assert row[f"users_per_s_{mode}"] > 0
    assert row["ratio_hybrid_cost"] > -1 and found["ratio_hybrid_cost"] == row["ratio_hybrid_cost"]
    assert {"train_seconds_graph", "train_seconds_text", "train_seconds_ranker"} <= set(row)


def test_a_peer_that_is_not_there_is_named(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    """Prevents a comparison that leaves a library out without a word."""
    np.savez(tmp_path / "given.npz", offsets=np.array([0, 2]), values=np.array([0, 1]), items=3)
    monkeypatch.setattr(peers, "find_spec", lambda library: None)
    monkeypatch.setattr(sys, "argv", ["peers", str(tmp_path / "given.npz"), str(tmp_path)])
    peers.main()
    assert json.loads(capsys.readouterr().out) == {"left_out": ["implicit", "rectools"]}


def test_a_target_that_is_not_listed_has_no_rank() -> None:
    """Prevents a peer that is judged by another rule than ours."""
    lists = np.array([[3, 1, 2], [0, 1, -1], [5, 4, 6]])
    assert hybrid._ranks(lists, np.array([1, 7, 5])).tolist() == [2, 0, 1]
