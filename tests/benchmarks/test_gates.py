"""The simulation of promotions on a few made-up pairs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gates import BETTER, K, chance, made_up, run
from components.evaluation.metrics import ndcg


def test_pairs_are_as_much_apart_as_they_are_said_to_be() -> None:
    """Prevents "5 % better" that is 5 % of something else, by computing the mean over all users that there are."""
    results = made_up(seed=17)
    values = np.sort(ndcg(results, K), axis=1)
    for better in (BETTER, -BETTER, 0.0):
        wins = chance(results, better)
        b = (wins * values[:, 1] + (1 - wins) * values[:, 0]).mean()
        a = (wins * values[:, 0] + (1 - wins) * values[:, 1]).mean()
        assert b / a == pytest.approx(1 + better)
    alike = np.stack([results[:, 0], np.where(np.arange(len(results)) < 1, 5, results[:, 0])], axis=1)
    with pytest.raises(ValueError, match="too much alike"):
        chance(alike, BETTER)


def test_the_gate_errs_less_than_a_point_estimate() -> None:
    """Prevents a gate that lets chance promote, and one that refuses everything. Cannot flake: seeds are fixed."""
    found = run(made_up(seed=17), pairs=60, users=4000)
    assert found["false_promotions"] <= 0.05 < found["point_estimate"]["false_promotions"]
    assert found["missed_improvements"] < 1
    easy = run(made_up(seed=17), pairs=30, users=40_000)
    assert easy["missed_improvements"] <= 0.2
    assert easy["passed"]["worse"] == 0
