"""The item graph: co-occurrence of items in training histories, weighted by direction and distance.

An item i before an item j at distance d <= 12 in a history of n items adds 0.9^(d-1) / log2(2+n) to weight(i -> j), and
half of it to weight(j -> i). A candidate c after a history, whose newest item has the age 0, scores

    sum over the items h of the history: 0.6^age(h) * weight(h -> c) / sqrt(count h) / count(c)^0.3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy import sparse

from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.voices.voice import Ranked, Voice

# No knobs, so that its figures stay comparable (docs/reading-a-run.md).
REACH = 12
STEP_DECAY = 0.9
BACKWARD = 0.5
AGE_DECAY = 0.6
POPULARITY_DISCOUNT = 0.3


class ItemGraph(Voice):
    """An item without any path from the history is not recommended: an empty history gets none."""

    @classmethod
    def build(cls, catalogue: Catalogue, histories: Ragged) -> Self:
        counts = np.maximum(np.bincount(histories.values, minlength=len(catalogue.table)), 1)
        weights = (graph(histories, len(counts)) * counts[None, :] ** -POPULARITY_DISCOUNT).tocsr()
        arrays = {"indptr": weights.indptr, "indices": weights.indices, "data": weights.data}
        return cls(catalogue, {"counts": counts, **arrays})

    def ranked(self, histories: Sequence[Sequence[int]]) -> Ranked:
        counts, size = self.arrays["counts"], len(self.catalogue.table)
        weights = sparse.csr_array(
            (self.arrays["data"], self.arrays["indices"], self.arrays["indptr"]), shape=(size, size)
        )
        items = np.concatenate([np.zeros(0, np.int64), *(np.asarray(history, np.int64) for history in histories)])
        lengths = np.fromiter(map(len, histories), np.int64, len(histories))
        ends = np.cumsum(lengths)
        age = np.repeat(ends, lengths) - 1 - np.arange(len(items))
        strength = AGE_DECAY**age / np.sqrt(counts[items])
        shown = sparse.csr_array((strength, items, np.append(0, ends)), shape=(len(histories), size))
        scores = (shown @ weights).tocsr()
        scores.sort_indices()
        for first, last in zip(scores.indptr[:-1], scores.indptr[1:], strict=True):
            found, values = scores.indices[first:last], scores.data[first:last]
            order = np.argsort(-values, kind="stable")
            yield found[order], values[order]


def graph(histories: Ragged, items: int) -> sparse.csr_array:
    """[items, items]: the weights of all pairs, before any discount."""
    user, values = histories.owners, histories.values
    scale = 1.0 / np.log2(2.0 + histories.lengths)
    forward = sparse.csr_array((items, items))
    # Distance by distance, so that what stands in memory is the graph and not every pair of every history.
    for distance in range(1, REACH + 1):
        together = user[:-distance] == user[distance:]
        earlier, later = values[:-distance][together], values[distance:][together]
        weight = STEP_DECAY ** (distance - 1) * scale[user[distance:][together]]
        forward += sparse.coo_array((weight, (earlier, later)), shape=(items, items)).tocsr()
    return (forward + BACKWARD * forward.T).tocsr()
