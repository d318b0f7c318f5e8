"""How far two distributions lie apart: the population stability index, without what chance alone gives.

    stability(expected, observed)          # counts by bucket -> a number that is 0 in the mean where nothing changed

PSI = sum over buckets of (q - p) ln(q / p). Without any shift it is not 0 but (buckets - 1)(1/n + 1/m) in the mean
(Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation,
2020), and small samples then look shifted; so that is taken off. 0.1 counts as some shift, 0.25 as a large one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def stability(expected: ArrayLike, observed: ArrayLike) -> float:
    """The index of two rows of counts over the same buckets, less its mean without a shift; at least 0.

    Empty buckets count half an event, as the logarithm needs some. 0 where one side has no events.
    """
    before, now = np.asarray(expected, float), np.asarray(observed, float)
    n, m = before.sum(), now.sum()
    if n == 0 or m == 0:
        return 0.0
    p, q = np.maximum(before, 0.5) / n, np.maximum(now, 0.5) / m
    index = float(((q - p) * np.log(q / p)).sum())
    return max(0.0, index - (len(before) - 1) * (1 / n + 1 / m))


def popularity_buckets(counts: NDArray[np.int64], buckets: int = 10) -> NDArray[np.int64]:
    """[items] the bucket of each item: 0 the best sellers, each bucket with a like share of all events; `buckets` for
    an item without any. Items of equal counts stand in one bucket, so that their order decides nothing."""
    _, place = np.unique(-counts, return_inverse=True)
    of_value = np.bincount(place, weights=counts.astype(float))
    before = np.concatenate([[0.0], np.cumsum(of_value)[:-1]]) / max(of_value.sum(), 1.0)
    found = np.minimum((before * buckets).astype(np.int64), buckets - 1)[place]
    found[counts == 0] = buckets
    return found
