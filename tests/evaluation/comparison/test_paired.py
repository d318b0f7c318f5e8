"""Paired statistics against SciPy's, which draws user by user, and on differences that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from components.evaluation.comparison.paired import holm, paired
from components.evaluation.metrics import ndcg


def results(users: int, seed: int, better: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@10 of two models that agree on most users; B finds a share `better` of the users anew."""
    random = np.random.default_rng(seed)
    a = np.where(random.random(users) < 0.2, random.integers(1, 20, users), 0)
    b = np.where(random.random(users) < 0.8, a, np.where(random.random(users) < 0.2, random.integers(1, 20, users), 0))
    b = np.where(random.random(users) < better, 1, b)
    return ndcg(a, 10), ndcg(b, 10)


def test_interval_is_that_of_a_bootstrap_over_users() -> None:
    """Prevents an interval of two samples of users instead of one of pairs, and draws of groups that are none."""
    a, b = results(800, seed=1)
    theirs = stats.bootstrap(
        (b - a,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    found = paired(a, b, seed=3, draws=4000)
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.06 * width)
    assert found.lower(0.95) == found.low < found.lower(0.8) < found.difference


def test_p_is_that_of_a_permutation_of_pairs() -> None:
    """Prevents a test that exchanges users instead of models, or counts one side of zero only."""
    a, b = results(300, seed=4, better=0.01)
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(y - x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(5),
    ).pvalue
    assert 0.02 < theirs < 0.98
    assert paired(a, b, seed=6).p == pytest.approx(theirs, abs=0.015)


def test_equal_models_are_rarely_told_apart() -> None:
    """Prevents a test that finds what is not there: of 400 pairs without a difference about 5 % have p below .05.

    Cannot flake: all of it comes from fixed seeds.
    """
    found = [paired(*results(400, seed=seed), seed=seed, draws=200, flips=400) for seed in range(400)]
    assert 0.02 <= np.mean([each.p < 0.05 for each in found]) <= 0.08
    assert 0.02 <= np.mean([not each.low <= 0 <= each.high for each in found]) <= 0.09


def test_counts_effect_and_share() -> None:
    """Prevents gains counted as losses, and an effect in units of one model's spread."""
    a, b = np.array([0.0, 1.0, 0.5, 0.5]), np.array([1.0, 0.0, 1.0, 0.5])
    found = paired(a, b, seed=1)
    assert (found.users, found.gained, found.lost) == (4, 2, 1)
    assert found.difference == pytest.approx(0.125)
    assert found.effect == pytest.approx(0.125 / np.std([1.0, -1.0, 0.5, 0.0]))
    assert found.share == pytest.approx(0.25)
    same = paired(a, a, seed=1)
    assert (same.p, same.low, same.high, same.effect) == (1.0, 0.0, 0.0, 0.0)
    assert paired(np.zeros(3), np.ones(3), seed=1).share is None


def test_p_against_a_bound_follows_the_bounds() -> None:
    """Prevents a gate whose p and whose bound say different things."""
    found = paired(*results(800, seed=7, better=0.02), seed=8)
    assert found.p_not_above(found.lower(0.9)) == pytest.approx(0.05, abs=0.01)
    assert found.p_not_above(-1.0) == pytest.approx(0, abs=1e-3) and found.p_not_above(1.0) == 1.0


def test_holm_by_the_book() -> None:
    """Prevents Bonferroni under Holm's name, and adjusted values that come back in another order."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_users_have_to_be_the_same() -> None:
    """Prevents a comparison of different users, which broadcasting would let through."""
    with pytest.raises(ValueError, match="same users"):
        paired(np.zeros(3), np.zeros(1), seed=1)
