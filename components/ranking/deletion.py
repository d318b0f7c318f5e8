"""How much lower the ranker would score a result if an item of the history, or a kind of evidence, were not there.

    for part in Deletion(hybrid).of(histories, days, results):     # a user each
        part.items, part.drops                                     # [items], [items, results]

The candidates of a user, and what the voices say of the others, stay as they are: the result alone is computed anew
from the shortened history. `tests/ranking/test_explaining.py` holds it to asking the ranker with that history.
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
from components.settings.voices import Fading
from components.storage.ragged import Ragged
from components.voices.fading import Days, strengths
from components.voices.lists import Scores
from components.voices.text import Text
from components.voices.voice import Voice

NEWEST = 10
"""Distinct items of a history that are deleted, each alone; older ones hardly count."""
_CELLS = 1 << 22
"""Scores of a voice for the shortened histories of a block of users: 16 MiB."""
SOURCES = ("people", "kinds", "words")
"""Kinds of evidence: what people took together, brand and category, texts."""


@dataclass(frozen=True)
class Part:
    """What the results of one user lose."""

    items: NDArray[np.int64]
    """[items] of the history that were deleted, each alone, newest first."""
    drops: NDArray[np.float64]
    """[items, results] what the result's score loses without the item; NaN of what is no candidate of the ranker."""
    sources: NDArray[np.float64]
    """[len(SOURCES), results] what it loses if it were as low in a kind of evidence as the user's lowest candidate."""
    counts: NDArray[np.float64]
    """[results] what it loses if it were taken as often as the user's candidates are in the mean."""


@dataclass(frozen=True)
class Shortened:
    """Histories without all events of one item each."""

    histories: Ragged
    days: Days
    users: NDArray[np.int64]
    """[shortened] whose history it was."""
    items: NDArray[np.int64]
    """[shortened] the item that is gone."""


def shortened(histories: Ragged, days: Days, most: int = NEWEST) -> Shortened:
    """For each history as many as it has items, newest first, at most `most`."""
    rows, kept_days, users, items = [], [], [], []
    for user, history in enumerate(histories):
        own = days[histories.offsets[user] : histories.offsets[user + 1]]
        for item in list(dict.fromkeys(history[::-1].tolist()))[:most]:
            kept = history != item
            rows.append(history[kept].tolist())
            kept_days.append(own[kept])
            users.append(user)
            items.append(item)
    gone = (np.array(each, np.int64) for each in (users, items))
    return Shortened(Ragged.of(rows), np.concatenate([np.zeros(0), *kept_days]), *gone)


class Deletion:
    """A hybrid that is asked what its results owe to."""

    def __init__(self, hybrid: Hybrid) -> None:
        self._hybrid, self._reader = hybrid, hybrid.reader
        names = [each.name for each in self._reader.features]
        voices = self._reader.voices
        of = {name: _source(voice) for name, voice in voices.items()}
        self._columns = {
            source: [at for at, each in enumerate(self._reader.features) if each.voice and source in of[each.voice]]
            for source in ("people", "words")
        } | {"kinds": [at for at, each in enumerate(self._reader.features) if each.group == "kinds"]}
        self._counts = [
            at
            for at, each in enumerate(self._reader.features)
            if each.group == COUNTS_AND_TIMES and each.name.startswith("count")
        ]
        self._last_is_most = np.array([name.endswith((".rank", ".place_of_strongest")) for name in names])

    def of(self, histories: Ragged, days: Days, results: Sequence[Sequence[int]]) -> Iterator[Part]:
        """One part a user, in order; `results` are item numbers."""
        start = 0
        for end in _blocks(histories, self._reader.items):
            block = histories.between(start, end)
            first = histories.offsets[start]
            yield from self._block(block, days[first : first + len(block.values)], results[start:end])
            start = end

    def _block(self, histories: Ragged, days: Days, results: Sequence[Sequence[int]]) -> Iterator[Part]:
        reader, voices = self._reader, list(self._reader.voices.values())
        scores = [voice.scores(histories, days) for voice in voices]
        block = reader.block_of(0, histories, days, scores)
        found, items = block.candidates, reader.items
        keys = found.owners * items + found.items
        short = shortened(histories, days)
        wanted = Ragged.of(results)
        there, places = _among(keys, wanted.owners * items + wanted.values)
        before = np.full(len(wanted.values), np.nan)
        before[there] = self._hybrid.ranker.scores(block.columns[places[there]])
        # A row for each result of each shortened history.
        variant, place_of, result = wanted.gather(short.users)
        at = wanted.offsets[short.users[variant]] + place_of
        known = there[at]
        rows = np.flatnonzero(known)
        of_voices = self._of_voices(voices, scores, block, short, variant[rows], result[rows].astype(np.int64))
        asked = Asked(short.histories, short.days, variant[rows], result[rows].astype(np.int64))
        after = np.full(len(variant), np.nan)
        after[rows] = self._hybrid.ranker.scores(reader.columns(of_voices, asked))
        sources, counts = self._without_sources(block, there, places, before)
        drops = before[at] - after
        first_of = np.searchsorted(variant, np.arange(len(short.users) + 1))
        of_user = np.searchsorted(short.users, np.arange(len(histories) + 1))
        for user in range(len(histories)):
            mine = slice(of_user[user], of_user[user + 1])
            own = slice(wanted.offsets[user], wanted.offsets[user + 1])
            count = mine.stop - mine.start
            part = drops[first_of[mine.start] : first_of[mine.stop]].reshape(count, own.stop - own.start)
            yield Part(short.items[mine], part, sources[:, own], counts[own])

    def _of_voices(
        self,
        voices: Sequence[Voice],
        scores: Sequence[Scores],
        block: Block,
        short: Shortened,
        variant: NDArray[np.int64],
        result: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """[rows, features of voices] of results of shortened histories, beside the whole histories' candidates."""
        found, users = block.candidates, short.users[variant]
        others = np.maximum(
            self._reader.items - np.bincount(found.owners[found.own], minlength=len(block.histories)), 1
        )
        owners = found.owners[~found.own]
        taken, _ = _among(
            found.owners[found.own] * self._reader.items + found.items[found.own], users * self._reader.items + result
        )
        columns: list[NDArray[Any]] = []
        for voice, each in zip(voices, scores, strict=True):
            values = _values(voice, block.histories, short, variant, result)
            own = found.owners[found.own], found.items[found.own]
            each[own] = 0.0
            total, squares, largest = proposing.catalogue_sums(each)
            mean = total / others
            spread = np.sqrt(np.maximum(squares / others - mean**2, 0.0))
            theirs = each[owners, found.items[~found.own]]
            columns += [
                values / proposing.above_zero(largest)[users],
                (values - mean[users]) / proposing.above_zero(spread)[users],
                _ranks(
                    values, users, theirs, owners, len(block.histories), np.where(taken, -np.inf, each[users, result])
                ),
            ]
        return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)

    def _without_sources(
        self, block: Block, there: NDArray[np.bool_], places: NDArray[np.int64], before: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`Part.sources` and `Part.counts` of all results."""
        found, columns = block.candidates, block.columns.astype(np.float32)
        starts = np.flatnonzero(np.append(True, found.owners[1:] != found.owners[:-1])[: len(found.owners)])
        number = np.cumsum(np.append(True, found.owners[1:] != found.owners[:-1])[: len(found.owners)]) - 1
        sources, counts = np.full((len(SOURCES), len(there)), np.nan), np.full(len(there), np.nan)
        if not there.any():
            return sources, counts
        lowest = np.where(
            self._last_is_most, np.maximum.reduceat(columns, starts), np.minimum.reduceat(columns, starts)
        )
        mean = np.add.reduceat(columns, starts) / np.bincount(number)[:, None]
        own = places[there]
        for row, source in enumerate(SOURCES):
            changed, at = columns[own].copy(), self._columns[source]
            changed[:, at] = lowest[number[own]][:, at]
            sources[row, there] = before[there] - self._hybrid.ranker.scores(changed.astype(np.float16))
        changed = columns[own].copy()
        changed[:, self._counts] = mean[number[own]][:, self._counts]
        counts[there] = before[there] - self._hybrid.ranker.scores(changed.astype(np.float16))
        return sources, counts


def _source(voice: Voice) -> tuple[str, ...]:
    """The kinds of evidence that a voice goes by."""
    steps = getattr(voice.settings, "steps", None)
    if steps is not None:
        return tuple(dict.fromkeys("words" if step == "text" else "people" for step in steps))
    return ("words",) if isinstance(voice, Text) else ("people",)


def _values(
    voice: Voice, histories: Ragged, short: Shortened, variant: NDArray[np.int64], result: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[rows] what a voice says of results of shortened histories.

    A voice that adds what single items say, each as strong as its age lets it be, is asked for each item once.
    """
    if not isinstance(voice.settings, Fading):
        return voice.scores(short.histories, short.days)[variant, result].astype(np.float64)
    items = len(voice.catalogue.table)
    single = np.unique(histories.values)
    alone = Ragged(np.arange(len(single) + 1), single)
    says = voice.scores(alone, np.full(len(single), np.nan))
    strong = strengths(short.histories, short.days, items, voice.settings)
    rows = strong[variant].tocoo()
    place = np.searchsorted(single, rows.col)
    return np.bincount(rows.row, rows.data * says[place, result[rows.row]], len(variant))


def _ranks(
    values: NDArray[np.float64],
    users: NDArray[np.int64],
    theirs: NDArray[np.float32],
    owners: NDArray[np.int64],
    histories: int,
    own: NDArray[np.float32],
) -> NDArray[np.float64]:
    """[rows] 1 + how many of a user's candidates score more than a value; the result with its `own` is not one."""
    order = np.lexsort((theirs, owners))
    sorted_values, offsets = theirs[order].astype(np.float64), np.searchsorted(owners, np.arange(histories + 1))
    low, high = offsets[users].copy(), offsets[users + 1].copy()
    end = high.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        under = open_ & (sorted_values[np.minimum(middle, max(len(sorted_values) - 1, 0))] <= values)
        low = np.where(under, middle + 1, low)
        high = np.where(open_ & ~under, middle, high)
    found: NDArray[np.float64] = 1.0 + (end - low) - (own > values)
    return found


def _among(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """[wanted] whether it is among the sorted keys, and where."""
    if not len(keys):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[places] == wanted, places


def _blocks(histories: Ragged, items: int) -> Iterator[int]:
    """Ends of blocks of users whose shortened histories have so many scores."""
    waiting = 0
    for user, length in enumerate(histories.lengths.tolist()):
        waiting += min(length, NEWEST) + 1
        if waiting * items >= _CELLS or user + 1 == len(histories):
            yield user + 1
            waiting = 0
