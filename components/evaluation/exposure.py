"""Whom the lists show: how unevenly items are exposed, and the share of new items, with intervals over users.

    exposure(lists, counts, 10)                # {"gini_at_10": (0.81, 0.80, 0.82), "new_share_at_10": (0.02, ...)}

Neither figure is a mean over users, so a bootstrap would count all lists anew in each draw. The intervals are those of
the infinitesimal jackknife instead (Jaeckel 1972; Efron 1982, chapter 6): one pass over the lists adds up how much each
user moves the figure, and the normal distribution does the rest.
"""

from __future__ import annotations

import numpy as np

Z = 1.959964
"""Half the width of a 95 % normal interval, in standard errors."""


def exposure(recommended: np.ndarray, counts: np.ndarray, k: int) -> dict[str, tuple[float, float, float]]:
    """Name -> (value, low, high), of the first `k` of the lists [users, depth] padded with -1; counts [items].

    gini: Gini coefficient of how often each item of the catalogue is shown; 0 where all are alike, near 1 where a few
    have everything. new_share: share of what is shown that no training sequence holds.
    """
    lists = recommended[:, :k]
    shown = lists >= 0
    times = np.bincount(lists[shown], minlength=len(counts))
    total = int(times.sum())
    if not total:
        return {f"gini_at_{k}": (0.0, 0.0, 0.0), f"new_share_at_{k}": (0.0, 0.0, 0.0)}
    weight = 2.0 * _middle_ranks(times) - len(times) - 1.0
    new = (counts == 0).astype(np.float64)
    gini = float(weight @ times) / total / len(times)
    return {
        f"gini_at_{k}": _interval(gini, weight / len(times), lists, shown, total),
        f"new_share_at_{k}": _interval(float(new @ times) / total, new, lists, shown, total),
    }


def _middle_ranks(times: np.ndarray) -> np.ndarray:
    """Rank of each item by how often it is shown, from 1; items shown equally often share the mean of their ranks."""
    _, group, size = np.unique(times, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    return (last - (size - 1) / 2.0)[group]


def _interval(
    value: float, each: np.ndarray, lists: np.ndarray, shown: np.ndarray, total: int
) -> tuple[float, float, float]:
    """(value, low, high) of a mean of `each` over everything shown; `each` [items] being held fixed."""
    moves = np.where(shown, each[lists] - value, 0.0).sum(axis=1) / total
    half = Z * float(np.sqrt(moves @ moves))
    return value, max(value - half, 0.0), min(value + half, 1.0)
