"""The exact assignment against greedy ones, where many items want the same names."""

from __future__ import annotations

from benchmarks.assign import run


def test_exact_is_never_worse_than_greedy_and_leaves_fewer_over() -> None:
    """Prevents a claim of quality that the figures do not bear out: the sum is the best there is."""
    figures = run(items=1500, candidates=4)
    exact, greedy = figures["exact"], [figures["first_come"], figures["best_first"]]
    assert exact["left_over_share"] < min(each["left_over_share"] for each in greedy)
    assert figures["ratio"] > 1
