"""How far a result would fall in the ranker's list if an item of the history, or a kind of evidence, were not there.

    for part in Deletion(hybrid).of(histories, days, results):     # a user each
        part.items, part.falls                                     # [items], [items, results]

The results and the next best candidates are scored anew from the shortened history, while the largest scores and means
of the voices stay those of the whole one. benchmarks/explanations.py measures it against the ranker's whole answer to
the shortened history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking import candidates as proposing
from components.ranking.features import COUNTS_AND_TIMES, Asked
from components.ranking.hybrid import Hybrid
from components.ranking.reading import Block
from components.ranking.shortened import Shortened, ranks_beside, said, shortened
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.lists import Scores
from components.voices.text import Text
from components.voices.view import View
from components.voices.voice import Voice

NEWEST = 8
"""Distinct items of a history that are deleted, each alone; older ones hardly count."""
BESIDE = 10
"""Candidates after the results that a result can fall behind."""
SOURCES = ("people", "kinds", "words")
"""Kinds of evidence: what people took together; brand, category and views of the items; texts."""
_CELLS = 1 << 22
"""Scores of a voice for the shortened histories of a block of users: 16 MiB."""

Falls = NDArray[np.float64]
"""Places in the list, and in the fraction the share of probability among its items, that a result loses."""


@dataclass(frozen=True)
class Part:
    """What the results of one user lose."""

    items: NDArray[np.int64]
    """[items] of the history that were deleted, each alone, newest first."""
    falls: Falls
    """[items, results] of a result without the item; NaN of what is no candidate of the ranker."""
    sources: Falls
    """[len(SOURCES), results] if it were as low in a kind of evidence as the user's lowest candidate."""
    counts: Falls
    """[results] if it were taken as often as the user's candidates are in the mean."""
    beside: NDArray[np.int64]
    """Items that the results can fall behind: the ranker's next best."""


class Deletion:
    """A hybrid that is asked what its results owe to."""

    def __init__(self, hybrid: Hybrid) -> None:
        self._ranker, self._reader = hybrid.ranker, hybrid.reader
        features, of = self._reader.features, {name: _sources(each) for name, each in self._reader.voices.items()}
        self._columns = {
            source: [at for at, each in enumerate(features) if each.voice and source in of[each.voice]]
            for source in ("people", "words")
        }
        self._columns["kinds"] = [
            at
            for at, each in enumerate(features)
            if each.group == "kinds" or (each.voice and "kinds" in of[each.voice])
        ]
        counted = [each.group == COUNTS_AND_TIMES and each.name.startswith("count") for each in features]
        self._counts = np.flatnonzero(counted)
        self._last_is_most = np.array([each.name.endswith((".rank", ".place_of_strongest")) for each in features])

    def of(self, histories: Ragged, days: Days, results: Sequence[Sequence[int]]) -> Iterator[Part]:
        """One part a user, in order; `results` are item numbers."""
        start = 0
        for end in _blocks(histories, self._reader.items):
            block = histories.between(start, end)
            first = histories.offsets[start]
            yield from self._block(block, days[first : first + len(block.values)], results[start:end])
            start = end

    def _block(self, histories: Ragged, days: Days, results: Sequence[Sequence[int]]) -> Iterator[Part]:
        scores = [voice.scores(histories, days) for voice in self._reader.voices.values()]
        block = self._reader.block_of(0, histories, days, scores)
        before = self._ranker.scores(block.columns).astype(np.float64)
        rows = _rows(block, before, results)  # [users, width] of candidates, the results first; -1 for none
        short = shortened(histories, days, NEWEST)
        whole = np.where(rows >= 0, before[rows], -np.inf)
        variant, column = np.nonzero(rows[short.users] >= 0)
        found = rows[short.users[variant], column]
        items = block.candidates.items[found]
        of_voices = self._of_voices(scores, block, short, variant, items)
        asked = Asked(short.histories, short.days, variant, items)
        after = np.full((len(short.users), rows.shape[1]), -np.inf)
        after[variant, column] = self._ranker.scores(self._reader.columns(of_voices, asked))
        width = max(map(len, results), default=0)
        falls = standing(after, after[:, :width]) - standing(whole, whole[:, :width])[short.users]
        sources, counts = self._without_sources(block, rows[:, :width], whole)
        of_user = np.searchsorted(short.users, np.arange(len(histories) + 1))
        for user, own in enumerate(results):
            mine, known = slice(of_user[user], of_user[user + 1]), rows[user, : len(own)] >= 0
            part = np.where(known, falls[mine, : len(own)], np.nan)
            others = rows[user, width:]
            beside = block.candidates.items[others[others >= 0]]
            yield Part(short.items[mine], part, sources[:, user, : len(own)], counts[user, : len(own)], beside)

    def _of_voices(
        self,
        scores: Sequence[Scores],
        block: Block,
        short: Shortened,
        variant: NDArray[np.int64],
        items: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """[rows, features of voices] of candidates for shortened histories."""
        found, users = block.candidates, short.users[variant]
        had = found.owners[found.own], found.items[found.own]
        there = found.owners[~found.own], found.items[~found.own]
        others = np.maximum(self._reader.items - np.bincount(had[0], minlength=len(block.histories)), 1)
        columns: list[NDArray[Any]] = []
        for (name, voice), each in zip(self._reader.voices.items(), scores, strict=True):
            values = self._reader.heard(name, said(voice, block.histories, short, variant, items))
            own = each[users, items]  # -inf of what the user has, which is not among the others
            each[had] = 0.0
            total, squares, largest = proposing.catalogue_sums(each)
            mean = total / others
            spread = np.sqrt(np.maximum(squares / others - mean**2, 0.0))
            columns += [
                values / proposing.above_zero(largest)[users],
                (values - mean[users]) / proposing.above_zero(spread)[users],
                ranks_beside(values, users, own, each[there], there[0]),
            ]
        return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)

    def _without_sources(
        self, block: Block, rows: NDArray[np.int64], whole: NDArray[np.float64]
    ) -> tuple[Falls, Falls]:
        """`Part.sources` [sources, users, results] and `Part.counts` [users, results]."""
        owners, columns = block.candidates.owners, block.columns.astype(np.float32)
        sources, counts = np.full((len(SOURCES), *rows.shape), np.nan), np.full(rows.shape, np.nan)
        users, places = np.nonzero(rows >= 0)
        if not len(users):
            return sources, counts
        known, starts, sizes = np.unique(owners, return_index=True, return_counts=True)
        row = np.searchsorted(known, users)
        lowest = np.where(
            self._last_is_most, np.maximum.reduceat(columns, starts), np.minimum.reduceat(columns, starts)
        )
        mean = np.add.reduceat(columns, starts) / sizes[:, None]
        own = columns[rows[users, places]]
        changes = [(lowest, self._columns[source]) for source in SOURCES] + [(mean, self._counts)]
        stands = standing(whole, whole[:, : rows.shape[1]])
        for number, (level, at) in enumerate(changes):
            changed = own.copy()
            changed[:, at] = level[row][:, at]
            theirs = np.full(rows.shape, -np.inf)
            theirs[users, places] = self._ranker.scores(changed.astype(np.float16))
            fall = np.where(rows >= 0, standing(whole, theirs, instead=True) - stands, np.nan)
            if number < len(SOURCES):
                sources[number] = fall
            else:
                counts = fall
        return sources, counts


def _rows(block: Block, scores: NDArray[np.float64], results: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """[users, most results + BESIDE] candidates: the results, as far as they are any, and the best of the others."""
    found, width = block.candidates, max(map(len, results), default=0)
    rows = np.full((len(block.histories), width + BESIDE), -1, np.int64)
    starts = np.searchsorted(found.owners, np.arange(len(block.histories) + 1))
    for user, wanted in enumerate(results):
        first, end = starts[user], starts[user + 1]
        place = {int(item): first + at for at, item in enumerate(found.items[first:end])}
        rows[user, : len(wanted)] = [place.get(item, -1) for item in wanted]
        free = ~found.own[first:end]
        free[[place[item] - first for item in wanted if item in place]] = False
        others = first + np.flatnonzero(free)
        best = others[np.argsort(-scores[others], kind="stable")[:BESIDE]]
        rows[user, width : width + len(best)] = best
    return rows


def standing(scores: NDArray[np.float64], own: NDArray[np.float64], *, instead: bool = False) -> Falls:
    """[rows, results] the place of each result's score among `scores` [rows, width], less its share of probability.

    instead: of each result its `own` alone is put in place of what it has in `scores`, one at a time.
    """
    count = own.shape[1]
    mine = scores[:, :count]
    highest = np.max(scores, axis=1, keepdims=True, initial=-np.inf)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    place = 1.0 + (scores[:, None, :] > own[:, :, None]).sum(axis=2)
    total = np.exp(scores - highest).sum(axis=1, keepdims=True)
    if instead:
        place -= mine > own
        total = total - np.exp(mine - highest) + np.exp(own - highest)
    found: Falls = place - np.exp(own - highest) / np.where(total > 0, total, 1.0)
    return found


def _sources(voice: Voice) -> tuple[str, ...]:
    """The kinds of evidence that a voice goes by."""
    steps = getattr(voice.settings, "steps", None)
    if steps is not None:
        return tuple(dict.fromkeys("words" if step == "text" else "people" for step in steps))
    if isinstance(voice, View):
        return ("kinds",)
    return ("words",) if isinstance(voice, Text) else ("people",)


def _blocks(histories: Ragged, items: int) -> Iterator[int]:
    """Ends of blocks of users whose shortened histories have so many scores."""
    waiting = 0
    for user, length in enumerate(histories.lengths.tolist()):
        waiting += min(length, NEWEST) + 1
        if waiting * items >= _CELLS or user + 1 == len(histories):
            yield user + 1
            waiting = 0
