"""benchmarks/dense_search.py runs from end to end on a few items."""

from __future__ import annotations

import argparse

from benchmarks import dense_search


def test_exact_search_has_a_figure() -> None:
    """Prevents keys that moved, and a library that is missing without a word."""
    found = dense_search.measure(argparse.Namespace(items=300, dims=8, queries=5))
    assert found["users_per_s_exact"] > 0
    assert found.get("left_out") == ["faiss"] or found["inverted_file"]["probes"]["64"]["recall_at_10"] > 0.9
