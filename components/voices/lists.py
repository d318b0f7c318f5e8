"""Scores of a block of users to lists of the best items, and to the ranks of given items; ties by item number.

items, values = best(scores, 10, least=0.0, excluded=histories)
rank = places(scores, targets, least=0.0, excluded=histories)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.storage.ragged import Ragged

Scores = NDArray[np.float32]
"""[users, items]; higher is better."""
_GROUP = 16
"""So many scores are looked at by their best one first, which takes a fifth of the time."""


def places(
    scores: Scores, targets: NDArray[np.integer[Any]], *, least: float, excluded: Ragged | None = None
) -> NDArray[np.int64]:
    """[users] the rank of each user's target among all items, 1 the best; 0 where it scores `least` or under.

    As the lists of `best` would have it, of any length. Overwrites the excluded of `scores` [users, items].
    """
    if excluded is not None:
        scores[excluded.owners, excluded.values] = -np.inf
    own = scores[np.arange(len(targets)), targets][:, None]
    rank = 1 + np.count_nonzero(scores > own, axis=1)
    equal = scores == own
    for user in np.flatnonzero(np.count_nonzero(equal, axis=1) > 1):
        rank[user] += np.count_nonzero(equal[user, : targets[user]])
    return np.where(own[:, 0] > least, rank, 0)


def best(
    scores: Scores, k: int, *, least: float, excluded: Ragged | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `k` best items of each user and their scores, [users, at most k], best first, ties by item number.

    Items that score `least` or under, and those `excluded` (item numbers of each user), are left out, and rows that
    hold fewer than `k` are padded with -1. Overwrites the excluded of `scores` [users, items].
    """
    users, items = scores.shape
    if excluded is not None:
        scores[excluded.owners, excluded.values] = -np.inf
    k = min(k, items)
    # Of the flat array: numpy finds what is set in two dimensions several times as slowly.
    rows, found = np.divmod(np.flatnonzero((scores >= _bound(scores, k)[:, None]) & (scores > least)), items)
    return _first(Listed(rows, found, scores[rows, found]), users, k)


@dataclass(frozen=True)
class Listed:
    """Scores of a few items of each user; the others have none."""

    owners: NDArray[np.int64]
    """[n] rising: whose item it is, as a row of the histories."""
    items: NDArray[np.int64]
    """[n] item numbers, rising within an owner."""
    scores: NDArray[np.float32]

    def places(
        self, targets: NDArray[np.integer[Any]], *, items: int, excluded: Ragged | None = None
    ) -> NDArray[np.int64]:
        """[users] `places` of the targets in a catalogue of `items` items; 0 where a target is not listed."""
        there = self if excluded is None else self.without(excluded, items=items)
        own = np.full(len(targets), np.nan, there.scores.dtype)
        hits = there.items == targets[there.owners]
        own[there.owners[hits]] = there.scores[hits]
        theirs = own[there.owners]
        ahead = (there.scores > theirs) | ((there.scores == theirs) & (there.items < targets[there.owners]))
        rank = 1 + np.bincount(there.owners[ahead], minlength=len(targets))
        return np.where(np.isnan(own), 0, rank)

    def without(self, excluded: Ragged, *, items: int) -> Listed:
        """These scores but those of `excluded`, item numbers of each user, in a catalogue of `items` items."""
        there = ~np.isin(self.owners * items + self.items, excluded.owners * items + excluded.values)
        return Listed(self.owners[there], self.items[there], self.scores[there])

    def best(
        self, users: int, k: int, *, items: int, excluded: Ragged | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """`best` of the scores of `users` users in a catalogue of `items` items, what is not listed being left out."""
        there = self if excluded is None else self.without(excluded, items=items)
        return _first(there, users, min(k, items))


def _first(listed: Listed, users: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((listed.items, -listed.scores, listed.owners))
    rows, found, values = listed.owners[order], listed.items[order], listed.scores[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < k
    top, top_values = np.full((users, k), -1, np.int64), np.full((users, k), -np.inf, values.dtype)
    top[rows[kept], place[kept]], top_values[rows[kept], place[kept]] = found[kept], values[kept]
    return top, top_values


def _bound(scores: Scores, k: int) -> Scores:
    """[users] at most the `k`-th best score: where there are many, the `k`-th best of the best of every few."""
    users, items = scores.shape
    groups = max(k, items // _GROUP)
    each = items // groups
    if each < 2:
        return np.partition(scores, items - k, axis=1)[:, items - k]
    tops = scores[:, : groups * each].reshape(users, each, groups).max(axis=1)
    return np.partition(tops, groups - k, axis=1)[:, groups - k]
