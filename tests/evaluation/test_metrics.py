"""Metrics against references that are slow and obvious."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation import metrics


def slow(recommended: list[list[int]], targets: list[int], k: int) -> dict[str, list[float]]:
    """Metrics by the book: walk down each list."""
    values: dict[str, list[float]] = {"recall": [], "ndcg": [], "mrr": []}
    for answer, target in zip(recommended, targets, strict=True):
        gains = [1.0 if item == target else 0.0 for item in answer[:k]]
        dcg = sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))
        first = next((place for place, gain in enumerate(gains, 1) if gain), None)
        values["recall"].append(sum(gains))
        values["ndcg"].append(dcg / 1.0)
        values["mrr"].append(1.0 / first if first else 0.0)
    return values


def padded(lists: list[list[int]], depth: int) -> np.ndarray:
    return np.array([row + [-1] * (depth - len(row)) for row in lists]).reshape(len(lists), depth)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 12), unique=True, max_size=8), st.integers(0, 12)), min_size=1, max_size=20
    ),
    st.integers(1, 12),
)
def test_metrics_equal_the_slow_reference_also_where_a_list_is_shorter_than_k(
    users: list[tuple[list[int], int]], k: int
) -> None:
    """Prevents off-by-one ranks, and a crash or a wrong hit where fewer than k items exist."""
    lists, targets = [user[0] for user in users], [user[1] for user in users]
    rank = metrics.ranks(padded(lists, 8), np.array(targets))
    expected = slow(lists, targets, k)
    assert metrics.recall(rank, k).tolist() == expected["recall"]
    assert metrics.ndcg(rank, k).tolist() == pytest.approx(expected["ndcg"], abs=1e-12)
    assert metrics.reciprocal_rank(rank, k).tolist() == pytest.approx(expected["mrr"], abs=1e-12)


def test_breadth_counts_what_is_shown_within_k_only() -> None:
    """Prevents counting padding or items below the cut as recommended."""
    found = metrics.breadth(np.array([[0, 1, 2], [0, -1, -1]]), np.array([4, 2, 1, 1]), 2)
    assert found["coverage_at_2"] == 2 / 4
    assert found["popularity_at_2"] == pytest.approx((4 + 2 + 4) / 3)
    assert found["novelty_at_2"] == pytest.approx((1 + 2 + 1) / 3)


def test_an_item_that_training_never_saw_is_as_new_as_one_seen_once() -> None:
    """Prevents an infinite novelty, which JSON refuses, where a cold item is recommended."""
    assert metrics.breadth(np.array([[0]]), np.array([0, 4]), 1)["novelty_at_1"] == 2.0


def test_breadth_of_empty_lists_is_zero() -> None:
    """Prevents a NaN, which JSON refuses, where nothing is recommended."""
    assert set(metrics.breadth(np.full((3, 2), -1), np.array([1, 1]), 2).values()) == {0.0}


def test_bootstrap_matches_the_normal_interval_and_repeats_with_its_seed() -> None:
    """Prevents an interval of the sample's spread instead of its mean's, and one that changes between runs."""
    values = {"a": np.repeat([0.0, 1.0], [900, 100])}
    low, high = metrics.bootstrap(values, seed=3)["a"]
    half = 1.96 * math.sqrt(0.1 * 0.9 / 1000)
    assert low == pytest.approx(0.1 - half, abs=0.004)
    assert high == pytest.approx(0.1 + half, abs=0.004)
    assert metrics.bootstrap(values, seed=3)["a"] == (low, high)
    assert metrics.bootstrap(values, seed=4)["a"] != (low, high)


def test_bootstrap_of_a_difference_is_paired() -> None:
    """Prevents independent draws, which would call a model that wins for every tenth user 'no clear difference'."""
    base = np.tile([0.0, 1.0], 500)
    better = base.copy()
    better[::20] = 1.0
    found = metrics.bootstrap({"base": base, "better": better, "gain": better - base}, seed=1)
    assert found["gain"][0] > 0
    assert found["base"][1] > found["better"][0], "their own intervals overlap, so this needs the pairing"


def test_bootstrap_of_grouped_users_is_that_of_single_ones() -> None:
    """Prevents draws of groups that are no draws of users: another spread of the mean, or names drawn apart."""
    random = np.random.default_rng(5)
    rank = random.integers(0, 8, 700)
    values = metrics.per_user(rank, [3, 5]) | {"other": random.random(700) * (rank == 2)}
    matrix = np.stack(list(values.values()), axis=1)
    means = np.array([matrix[random.integers(0, 700, 700)].mean(axis=0) for _ in range(4000)])
    expected = np.quantile(means, [0.025, 0.975], axis=0).T
    found = np.array(list(metrics.bootstrap(values, seed=1, draws=4000).values()))
    assert found == pytest.approx(expected, abs=0.1 * float((expected[:, 1] - expected[:, 0]).min()))
    twice = metrics.bootstrap({"a": values["other"], "b": values["other"]}, seed=1)
    assert twice["a"] == twice["b"]
