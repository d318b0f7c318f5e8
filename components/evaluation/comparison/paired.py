"""Paired statistics of two results of the same users: bootstrap interval, permutation test, effect; Holm over several.

    found = paired(ndcg_of_a, ndcg_of_b, seed=17)              # found.difference, found.low, found.high, found.p
    holm([found.p, other.p])                                   # adjusted, of one family

Users with the same difference are drawn together, which changes no distribution: how many of them a bootstrap sample
holds is multinomial, and how many of them a permutation flips is binomial. A rank has few values, so a million users
cost what their distinct differences do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

DRAWS = 2000
FLIPS = 10_000
"""Permutations: the smallest p is 1 in 10,001, so that Holm over a dozen slices can still find something."""
LEVEL = 0.95
_CELLS = 2_000_000
"""Numbers drawn at a time: 16 MB."""


@dataclass(frozen=True)
class Paired:
    """B minus A over the same users, in a metric of which more is better."""

    users: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    """95 % percentile bootstrap interval of the difference."""
    p: float
    """Two-sided p of the permutation test that exchanges A and B within users (Fisher's sign flips)."""
    effect: float
    """Mean of the differences over their standard deviation (Cohen's d for pairs); 0 where nobody differs."""
    gained: int
    lost: int
    """Users for whom B is better, and worse."""
    means: np.ndarray = field(repr=False, compare=False)
    """[draws] bootstrapped differences, sorted: bounds at other levels are read from them."""

    @property
    def share(self) -> float | None:
        """The difference as a share of A; None where A is zero."""
        return self.difference / self.a if self.a else None

    def lower(self, level: float = LEVEL) -> float:
        """Lower end of the two-sided interval of this level."""
        return float(np.quantile(self.means, (1 - level) / 2))

    def p_not_above(self, bound: float) -> float:
        """One-sided bootstrap p of "the difference is `bound` or less": share of the draws that are."""
        below = int(np.searchsorted(self.means, bound, side="right"))
        return (below + 1) / (len(self.means) + 1)


def paired(a: np.ndarray, b: np.ndarray, *, seed: int, draws: int = DRAWS, flips: int = FLIPS) -> Paired:
    """Compare two results [users] of the same users in the same order. Raises `ValueError` for none, or a mismatch."""
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"two results of the same users are needed, not {a.shape} and {b.shape}")
    difference = b - a
    values, times = np.unique(difference, return_counts=True)
    random = np.random.default_rng(seed)
    means = _bootstrapped(values, times, draws, random)
    spread = float(difference.std())
    return Paired(
        users=len(a),
        a=float(a.mean()),
        b=float(b.mean()),
        difference=float(difference.mean()),
        low=float(np.quantile(means, (1 - LEVEL) / 2)),
        high=float(np.quantile(means, (1 + LEVEL) / 2)),
        p=_flipped(values, times, flips, random),
        effect=float(difference.mean()) / spread if spread else 0.0,
        gained=int(times[values > 0].sum()),
        lost=int(times[values < 0].sum()),
        means=means,
    )


def _bootstrapped(values: np.ndarray, times: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """[draws] means of samples of users with replacement, sorted."""
    users = int(times.sum())
    step = max(1, _CELLS // len(values))
    blocks = [
        random.multinomial(users, times / users, size=min(step, draws - done)) @ values / users
        for done in range(0, draws, step)
    ]
    return np.sort(np.concatenate(blocks))


def _flipped(values: np.ndarray, times: np.ndarray, flips: int, random: np.random.Generator) -> float:
    """Two-sided p: how often a sum with random signs is as far from zero as the one found, itself included."""
    size, group = np.unique(np.abs(values), return_inverse=True)
    users = np.bincount(group, weights=times).astype(np.int64)
    found = abs(float(values @ times))
    step, beyond = max(1, _CELLS // len(size)), 0
    for done in range(0, flips, step):
        kept = random.binomial(users, 0.5, size=(min(step, flips - done), len(size)))
        sums = (2 * kept - users) @ size
        beyond += int((np.abs(sums) >= found - 1e-9 * max(found, 1.0)).sum())
    return (beyond + 1) / (flips + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of one family (Holm 1979): at most `alpha` of all families hold a false finding."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(each) for each in adjusted]
