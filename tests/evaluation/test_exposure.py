"""Exposure of items against references that are slow and obvious."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.exposure import exposure


def gini_by_the_book(times: np.ndarray) -> float:
    """Mean absolute difference of all pairs, over twice the mean."""
    pairs = np.abs(times[:, None] - times[None, :])
    return float(pairs.mean() / (2 * times.mean()))


def lists_of(users: int, items: int, depth: int, seed: int) -> np.ndarray:
    """Lists that show low numbers far more often; some are shorter than `depth`."""
    random = np.random.default_rng(seed)
    chance = 1.0 / np.arange(1, items + 1)
    rows = np.stack([random.choice(items, depth, replace=False, p=chance / chance.sum()) for _ in range(users)])
    rows[random.random((users, depth)).cumsum(axis=1) > depth * 0.7] = -1
    return rows


def test_gini_is_the_mean_difference_of_all_pairs_of_items() -> None:
    """Prevents a rank that is off by one, ties that are ranked by chance, and items never shown left out."""
    lists = lists_of(40, 30, 6, seed=1)
    times = np.bincount(lists[:, :4][lists[:, :4] >= 0], minlength=30)
    assert len(np.unique(times)) < 30 and times.min() == 0
    value, low, high = exposure(lists, np.ones(30), 4)["gini_at_4"]
    assert value == pytest.approx(gini_by_the_book(times), abs=1e-12)
    assert low < value < high


def test_gini_has_its_ends() -> None:
    """Prevents a scale on which nobody can place a figure."""
    even, one = np.arange(8).reshape(4, 2), np.zeros((4, 1), dtype=int)
    assert exposure(even, np.ones(8), 2)["gini_at_2"][0] == 0.0
    assert exposure(one, np.ones(8), 1)["gini_at_1"][0] == pytest.approx(1 - 1 / 8)


def test_new_items_are_those_that_training_never_saw() -> None:
    """Prevents padding, or items below the cut, that count as shown."""
    lists = np.array([[0, 2, 1], [2, -1, -1], [1, 0, 2]])
    assert exposure(lists, np.array([3, 1, 0]), 2)["new_share_at_2"][0] == pytest.approx(2 / 5)


def test_intervals_are_as_wide_as_those_of_a_bootstrap_that_counts_all_lists_anew() -> None:
    """Prevents an interval that is too narrow to be believed, or one that forgets that lists differ in length."""
    lists, counts = lists_of(600, 40, 5, seed=2), np.array([0, 5] * 20)
    random, drawn = np.random.default_rng(3), []
    for _ in range(600):
        again = exposure(lists[random.integers(0, 600, 600)], counts, 5)
        drawn.append([again["gini_at_5"][0], again["new_share_at_5"][0]])
    for (_, low, high), each in zip(exposure(lists, counts, 5).values(), np.array(drawn).T, strict=True):
        assert high - low == pytest.approx(2 * 1.96 * each.std(), rel=0.15)


def test_nothing_shown_is_zero() -> None:
    """Prevents a NaN, which JSON refuses, where nothing is recommended."""
    assert set(exposure(np.full((3, 2), -1), np.array([1, 0]), 2).values()) == {(0.0, 0.0, 0.0)}
