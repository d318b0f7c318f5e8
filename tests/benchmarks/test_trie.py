"""The benchmark of the trie measures what it says: memory of one size, and dictionaries that hold the same IDs."""

from __future__ import annotations

from benchmarks import trie


def test_two_sizes() -> None:
    """Prevents figures of a broken run: an append that differs from building, a growth that is not linear."""
    figures = trie.run([2_000, 20_000])
    small, large = figures["rows"]
    assert small["append_equals_build"] and large["append_equals_build"]
    assert (small["items"], large["items"]) == (2_000, 20_000)
    assert 0.9 < figures["growth_bytes"] < 1.1
    assert figures["ratio"] == large["ratio_seconds_dict"] > 0
    # 64 bytes is an empty dictionary; a node of ours takes 20.
    assert large["dict_bytes"] >= 64 * large["nodes"]
    assert large["peak_rss_bytes"] > large["bytes"] >= 20 * large["nodes"]
