"""Candidates of each user: the best items of every voice, and what each voice says of each of them.

    found = candidates(scores, [voice.LEAST, ...], histories, most=60)

A user's own items are candidates too, so that the ranker learns whether people take things again; who masks them drops
them from the list. All figures of the others are taken as if the own items were not there, so that a masked list does
not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking.features import Columns, Feature, named, stacked
from components.storage.ragged import Ragged
from components.voices.lists import Scores, best

GROUP = "scores"
NEAR_THE_TOP = 20
"""Of how many voices a candidate is among so many best ones is a feature."""


@dataclass(frozen=True)
class Candidates:
    """Sorted by owner, then by item number."""

    owners: NDArray[np.int64]
    """[candidates] whose candidate it is, as a row of the histories."""
    items: NDArray[np.int64]
    """[candidates] item numbers."""
    own: NDArray[np.bool_]
    """[candidates] whether it is in the owner's history."""
    proposed: NDArray[np.bool_]
    """[candidates, voices] whether it is among the best of the voice."""
    columns: Columns
    """[candidates, 3 * voices]: `features`."""


def features(voices: Sequence[str]) -> list[Feature]:
    """Of each voice: the score as a share of the user's largest, in deviations from its mean over the catalogue, and
    its rank among the user's candidates, which for the best of the voice is that in the catalogue."""
    return [each for voice in voices for each in named(GROUP, ("share", "z", "rank"), voice)]


def candidates(scores: Sequence[Scores], least: Sequence[float], histories: Ragged, *, most: int) -> Candidates:
    """The `most` best of each voice that score more than its `least`; `scores` of a voice are [users, items].

    Overwrites a user's own items in `scores`.
    """
    items = scores[0].shape[1]
    own = np.unique(histories.owners * items + histories.values)
    tops, theirs, sums = [], [], []
    for each, lowest in zip(scores, least, strict=True):
        theirs.append(each.ravel()[own])
        each.ravel()[own] = 0.0
        sums.append(catalogue_sums(each))
        each.ravel()[own] = -np.inf
        top, _ = best(each, most, least=lowest)
        rows, places = np.nonzero(top >= 0)
        tops.append(rows * items + top[rows, places])
    keys = np.unique(np.concatenate([own, *tops]))
    owners, wanted = keys // items, keys % items
    mine = np.zeros(len(keys), bool)
    mine[np.searchsorted(keys, own)] = True
    proposed = np.zeros((len(keys), len(scores)), bool)
    columns: list[NDArray[Any]] = []
    others = np.maximum(items - np.bincount(own // items, minlength=len(histories)), 1)
    for number, each in enumerate(scores):
        proposed[np.searchsorted(keys, tops[number]), number] = True
        values = each.ravel()[keys].astype(np.float64)
        values[mine] = theirs[number]
        total, squares, largest = sums[number]
        mean = total / others
        spread = np.sqrt(np.maximum(squares / others - mean**2, 0.0))
        columns += [
            values / above_zero(largest)[owners],
            (values - mean[owners]) / above_zero(spread)[owners],
            _ranks(values, owners, mine),
        ]
    return Candidates(owners, wanted, mine, proposed, stacked(columns))


def summary(ranks: Columns) -> Columns:
    """[candidates, 2] the best rank, and of how many voices it is near the top, from the ranks of all voices; 0 where
    there is no voice, as when the only one is left out and a user's own items are all there is."""
    best = ranks.min(axis=1) if ranks.shape[1] else np.zeros(len(ranks))
    return stacked([best, (ranks <= NEAR_THE_TOP).sum(axis=1)])


def summary_features() -> list[Feature]:
    return named(GROUP, ("best_rank", "near_the_top"))


def catalogue_sums(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """[users] sum, sum of squares and largest absolute value."""
    largest = np.maximum(scores.max(axis=1), -scores.min(axis=1)).astype(np.float64)
    return scores.sum(axis=1, dtype=np.float64), np.einsum("ui,ui->u", scores, scores).astype(np.float64), largest


def above_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > 0, values, 1.0)


def _ranks(values: NDArray[np.float64], owners: NDArray[np.int64], own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[candidates] 1 + how many candidates of the owner, those of the history left out, score more. `values` are those
    of float32."""
    if not len(values):
        return np.zeros(0)
    # By owner, then score downwards, then those that count first, as one number each: a float's bits ascend with it.
    bits = (values.astype(np.float32) + np.float32(0.0)).view(np.int32).astype(np.int64)
    upwards = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    order = np.argsort((owners << 33) | ((0x7FFFFFFF - upwards) << 1) | own)
    counting = ~own[order]
    before: NDArray[np.int64] = np.cumsum(counting) - counting
    first = np.append(True, owners[order][1:] != owners[order][:-1])
    fresh = first | np.append(True, values[order][1:] != values[order][:-1])
    ranks = np.empty(len(values))
    ranks[order] = 1 + before[_latest(fresh)] - before[_latest(first)]
    return ranks


def _latest(marks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[n] the last place up to each that is marked."""
    found: NDArray[np.int64] = np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))
    return found
