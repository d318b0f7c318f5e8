"""A graph of items: near each other in histories, weighted by direction, distance, days and day.

An item i before an item j, d steps later in a history of n items and `days` days later (0 where times go back), adds

    distance_decay ** (d - 1) / log2(2 + n) / (1 + days / pair_days) * (same_day if of one day)

to weight(i -> j), and `backward` times that to weight(j -> i). A candidate c after a history scores

    sum over its items h of
        strength(h) * weight(h -> c) ** power / count(h) ** source_discount / count(c) ** candidate_discount

with the strengths of fading.py. The settings (components/settings/voices.py) make several voices of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days, same_day, strengths
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.matrix import empty_rows, lengthened, packed, unpacked
from components.voices.voice import Voice

_PAIRS = 1 << 22
"""Pairs that wait to be summed, so that what stands in memory is the graph and not every pair of every history."""


class Graph(Voice):
    """An item without any path from the history is not recommended: an empty history gets none."""

    Settings = settings.Graph

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        return cls(learned.catalogue, packed("weights", weights(learned, chosen)), chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: no path leads to a new item."""
        arrays = lengthened(self.arrays, "weights", empty_rows(self.new_items(catalogue)))
        return type(self)(catalogue, {**self.arrays, **arrays}, self.settings)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        asked = strengths(histories, days, len(self.catalogue.table), self.settings)
        return (asked @ self.links).toarray().astype(np.float32, copy=False)

    @cached_property
    def links(self) -> sparse.csr_array:
        return unpacked(self.arrays, "weights", len(self.catalogue.table))


def weights(learned: Learned, chosen: settings.Graph) -> sparse.csr_array:
    """[items, items] of float32: what a candidate scores for an item of strength 1."""
    items = len(learned.catalogue.table)
    summed = _summed(learned.histories, learned.days, items, chosen)
    if chosen.power != 1.0:
        summed.data **= chosen.power
    counts = np.maximum(learned.counts, 1)
    summed.data *= np.repeat(counts**-chosen.source_discount, np.diff(summed.indptr))
    summed.data *= (counts**-chosen.candidate_discount)[summed.indices]
    return summed.astype(np.float32)


def _summed(histories: Ragged, days: Days, items: int, chosen: settings.Graph) -> sparse.csr_array:
    """[items, items]: the weights of all pairs, before any discount."""
    owners, values = histories.owners, histories.values
    scale = 1.0 / np.log2(2.0 + histories.lengths)
    total, waiting, pairs = sparse.csr_array((items, items)), [], 0
    longest = int(histories.lengths.max(initial=0))
    for distance in range(1, min(chosen.reach, longest - 1) + 1):
        places = np.flatnonzero(owners[:-distance] == owners[distance:])
        within = same_day(days, distance)[places]
        weight = chosen.distance_decay ** (distance - 1) * scale[owners[places]]
        if chosen.pair_days is not None:
            apart = np.maximum(np.nan_to_num(days[places + distance] - days[places]), 0.0)  # as fading.py says
            weight /= 1.0 + apart / chosen.pair_days
        weight[within] *= chosen.same_day
        backward = weight * np.where(within & chosen.same_day_both_ways, 1.0, chosen.backward)
        earlier, later = values[places], values[places + distance]
        waiting += [(weight, earlier, later), (backward, later, earlier)]
        pairs += 2 * len(places)
        if pairs > _PAIRS:
            total, waiting, pairs = total + _added(waiting, items), [], 0
    return (total + _added(waiting, items)).tocsr() if waiting else total


def _added(waiting: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]], items: int) -> sparse.csr_array:
    weight, rows, columns = (np.concatenate(each) for each in zip(*waiting, strict=True))
    return sparse.coo_array((weight, (rows, columns)), shape=(items, items)).tocsr()
