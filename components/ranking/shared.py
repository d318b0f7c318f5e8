"""Tails that a candidate shares with the history, relation by relation: paths item - tail - item, rare tails most.

chosen.shared == ["relations.director", "relations.genre"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.ranking.features import Asked, Columns, Feature, named, stacked
from components.storage.ragged import slices
from components.storage.vectors import Edges
from components.voices.learned import Learned
from components.voices.load import VIEW
from components.voices.matrix import packed

GROUP = "relations"
NAMES = ("from_last", "paths", "weight")


def features(relations: Sequence[str]) -> list[Feature]:
    """Of each relation: the weight of the tails shared with the newest item, how many paths lead from the newest items
    of the history to the candidate, and their weight, divided by how many items these are."""
    found = []
    for name in relations:
        view, _, relation = name.partition(".")
        found += named(GROUP, [f"{relation}.{each}" for each in NAMES], f"{VIEW}:{view}")
    return found


def tails(learned: Learned, relations: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Of each relation a matrix [items, its tails] of weights, packed as `shared.VIEW.RELATION`, and its width."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in relations:
        view, _, relation = name.partition(".")
        edges = learned.views[view]
        if not isinstance(edges, Edges):
            raise LookupError(f"the view {view!r} has no relations")
        shape = (edges.items, len(edges.kinds))
        matrix = sparse.csr_array((edges.data, edges.indices, edges.indptr), shape=shape)
        items_of = np.bincount(edges.indices, minlength=len(edges.kinds))
        of_several = (edges.kinds == edges.names.index(relation)) & (items_of > 1)  # the others are shared by none
        own = matrix[:, np.flatnonzero(of_several)].tocsr()
        arrays |= packed(f"shared.{name}", own)
        arrays[f"shared.{name}.width"] = np.array([own.shape[1]])
    return arrays


def shared(arrays: Mapping[str, NDArray[Any]], asked: Asked, relations: Sequence[str], *, most: int) -> list[Columns]:
    """Of each relation [candidates, 3], over the newest `most` items of each history. A candidate that the
    history holds shares with itself; the feature `taken` tells it apart."""
    found = []
    users, known = len(asked.histories), np.maximum(np.minimum(asked.lengths, most), 1)
    owners, events = _newest(asked, most)
    values = asked.histories.values[events].astype(np.int64)
    ends = asked.histories.offsets[1:][asked.histories.lengths > 0] - 1
    last = np.zeros(len(asked.histories.values), bool)
    last[ends] = True
    for name in relations:
        indptr, indices, weights = (arrays[f"shared.{name}.{part}"] for part in ("indptr", "indices", "data"))
        width = int(arrays[f"shared.{name}.width"][0])
        starts, lengths = indptr[values].astype(np.int64), np.diff(indptr)[values].astype(np.int64)
        which, places, to = slices(indices, starts, lengths)
        at, of_last = owners[which] * width + to, last[events][which]
        amount = weights[starts[which] + places].astype(np.float64)
        counts = np.bincount(at, minlength=users * width)
        sums = np.bincount(at, amount, minlength=users * width)
        lasts = np.bincount(at[of_last], amount[of_last], minlength=users * width)
        starts, lengths = indptr[asked.items].astype(np.int64), np.diff(indptr)[asked.items].astype(np.int64)
        which, places, to = slices(indices, starts, lengths)
        at, amount = asked.owners[which] * width + to, weights[starts[which] + places].astype(np.float64)
        columns = [
            np.bincount(which, amount * lasts[at], minlength=len(asked.items)),
            np.bincount(which, counts[at], minlength=len(asked.items)),
            np.bincount(which, amount * sums[at], minlength=len(asked.items)) / known,
        ]
        found.append(stacked(columns))
    return found


def _newest(asked: Asked, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Owner and place of the newest `most` events of each history."""
    histories = asked.histories
    back = histories.offsets[1:][histories.owners] - 1 - np.arange(len(histories.values))
    kept = np.flatnonzero(back < most)
    return histories.owners[kept].astype(np.int64), kept
