"""Metrics against another library, ir-measures over trec_eval, on random rankings."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, R, nDCG

from components.evaluation import metrics

USERS, ITEMS, DEPTH = 400, 60, 50


def test_recall_ndcg_and_mrr_are_those_of_trec_eval() -> None:
    """Prevents figures under a known name that nobody else would get: one target a user, lists shorter than k too.

    Cannot flake: the rankings come from one seed.
    """
    random = np.random.default_rng(17)
    lists = np.stack([random.permutation(ITEMS)[:DEPTH] for _ in range(USERS)])
    lists[np.arange(DEPTH) >= random.integers(0, DEPTH + 1, USERS)[:, None]] = -1
    targets = random.integers(0, ITEMS, USERS)
    right = {str(user): {str(target): 1} for user, target in enumerate(targets)}
    asked = {
        str(user): {str(item): float(DEPTH - place) for place, item in enumerate(row) if item >= 0} | {"none": -1.0}
        for user, row in enumerate(lists)
    }
    rank = metrics.ranks(lists, targets)
    assert (rank == 0).any() and (rank > 20).any()
    for k in (1, 5, 10, 20, 50):
        found: dict[str, dict[int, float]] = {}
        for each in ir_measures.iter_calc([R @ k, nDCG @ k, RR @ k], right, asked):
            found.setdefault(str(each.measure), {})[int(each.query_id)] = each.value
        for measure, ours in (
            (R @ k, metrics.recall(rank, k)),
            (nDCG @ k, metrics.ndcg(rank, k)),
            (RR @ k, metrics.reciprocal_rank(rank, k)),
        ):
            theirs = found[str(measure)]
            assert ours.tolist() == pytest.approx([theirs[user] for user in range(USERS)], abs=1e-12), measure
