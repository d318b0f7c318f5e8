"""Facts of the training histories and item texts that an explanation may state; saved beside the ranker.

facts = Facts(Facts.build(learned), kinds.codes(learned), learned.catalogue.table.item_ids)
facts.clauses(had, result)                                 # of two item numbers: what is true of them
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking.clauses import LEAST_PEOPLE, Clause, Kind
from components.storage.ragged import Ragged
from components.textid.words.normal import split
from components.voices.learned import Learned

REACH = 50
"""Places between two items of a history that still stand together."""
POPULAR_SHARE = 0.2
"""An item is popular if fewer than this share of the items were taken by more people."""
MOST_WORDS = 3
"""Shared words that are named."""
MOST_RELATIONS = 2
"""Relations of shared tails that are named."""
_COMMON = 0.03
"""A word in the titles of more than this share of the items says nothing."""
_PAIRS = 1 << 22
"""Pairs of a person that are counted at a time."""


class Facts:
    """Tables of single items and of pairs of items."""

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        kinds: NDArray[np.int32],
        item_ids: Sequence[str],
        tails: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """`arrays`: as `build` makes them; `kinds`: as `kinds.codes` does; `tails`: as `shared.tails`."""
        self._arrays, self._kinds, self._ids, self._tails = arrays, kinds, item_ids, tails or {}

    @staticmethod
    def build(learned: Learned) -> dict[str, NDArray[Any]]:
        """`people` [items]; of `next` and `together` the pairs that enough people have, as `KIND.keys`, earlier item *
        items + later one (of `together` the smaller number first), sorted, and `KIND.people`; `words` of titles."""
        histories, items = learned.histories, len(learned.catalogue.table)
        found = {"people": _counted(np.unique(histories.owners * items + histories.values) % items, items)}
        found |= _pairs("next", histories, items, reach=1, both_ways=False)
        found |= _pairs("together", histories, items, reach=REACH, both_ways=True)
        return found | _words(learned.texts.get("title", ()), items)

    @staticmethod
    def extended(
        arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, Sequence[Any]], *, items: int, more: int
    ) -> dict[str, NDArray[Any]]:
        """The tables of `items` items with `more` new ones at the end, which nobody took yet; texts: of these."""
        people = np.concatenate([arrays["people"], np.zeros(more, np.int32)])
        found = {**arrays, "people": people}
        for kind in ("next", "together"):
            first, second = np.divmod(arrays[f"{kind}.keys"], items)
            found[f"{kind}.keys"] = first * (items + more) + second
        number = {word: place for place, word in enumerate(_vocabulary(arrays))}
        titles = texts.get("title", [None] * more)
        own = [set(split(title)) if isinstance(title, str) else set() for title in titles]
        rows = Ragged.of([sorted(number[word] for word in words if word in number) for words in own])
        last = arrays["words.offsets"][-1]
        found["words.offsets"] = np.concatenate([arrays["words.offsets"], last + rows.offsets[1:]])
        found["words.numbers"] = np.concatenate([arrays["words.numbers"], rows.values.astype(np.int32)])
        return found

    def clauses(self, had: int, result: int) -> list[Clause]:
        """Everything that can be said of a result and an item of the history, each source's best first."""
        alike = [*self.related(had, result), *self.alike(had, result)]
        return [*self.together(had, result), *alike, *self.in_words(had, result)]

    def together(self, had: int, result: int) -> list[Clause]:
        """People who took both, one right after the other or at all."""
        items, item = len(self._ids), self._ids[had]
        first, last = min(had, result), max(had, result)
        keys: dict[Kind, int] = {"next": had * items + result, "together": first * items + last}
        return [Clause(kind, item, people) for kind, key in keys.items() if (people := self._people(kind, key))]

    def alike(self, had: int, result: int) -> list[Clause]:
        """Brand and deepest category."""
        brand, leaf, _ = ((row[had] == row[result]) & (row[had] >= 0) for row in self._kinds)
        kind: Kind | None = "brand_and_kind" if brand and leaf else "brand" if brand else "kind" if leaf else None
        return [Clause(kind, self._ids[had])] if kind else []

    def related(self, had: int, result: int) -> list[Clause]:
        """Relations of which both have one and the same tail, that of the rarest tail first."""
        rarest: dict[str, float] = {}
        for key in self._tails:
            if key.startswith("shared.") and key.endswith(".indptr"):
                name = key.removesuffix(".indptr")
                offsets, numbers, weights = (self._tails[f"{name}.{part}"] for part in ("indptr", "indices", "data"))
                own, theirs = (slice(offsets[item], offsets[item + 1]) for item in (had, result))
                common = np.isin(numbers[theirs], numbers[own])
                if common.any():
                    rarest[name.rpartition(".")[2]] = float(weights[theirs][common].max())
        named = sorted(rarest, key=lambda name: (-rarest[name], name))[:MOST_RELATIONS]
        return [Clause("relation", self._ids[had], words=tuple(named))] if named else []

    def in_words(self, had: int, result: int) -> list[Clause]:
        """Words of both titles that few titles have."""
        own, theirs = (self._words_of(item) for item in (had, result))
        shared = np.intersect1d(own, theirs)[:MOST_WORDS]
        return (
            [Clause("words", self._ids[had], words=tuple(self._word(each) for each in shared))] if len(shared) else []
        )

    def popular(self, result: int) -> Clause:
        """That many people took it, where it is one of the items that most took; else that nothing is to be said."""
        people = int(self._arrays["people"][result])
        return Clause("popular", people=people) if people >= self._least_popular else Clause("none")

    @cached_property
    def _least_popular(self) -> int:
        people = np.sort(self._arrays["people"])[::-1]
        return max(int(people[math.ceil(POPULAR_SHARE * len(people)) - 1]), LEAST_PEOPLE)

    def _people(self, kind: str, key: int) -> int:
        keys = self._arrays[f"{kind}.keys"]
        place = int(np.searchsorted(keys, key))
        return int(self._arrays[f"{kind}.people"][place]) if place < len(keys) and keys[place] == key else 0

    def _words_of(self, item: int) -> NDArray[np.int32]:
        offsets = self._arrays["words.offsets"]
        found: NDArray[np.int32] = self._arrays["words.numbers"][offsets[item] : offsets[item + 1]]
        return found

    def _word(self, number: int) -> str:
        return _spelt(self._arrays, number)


def _spelt(arrays: Mapping[str, NDArray[Any]], number: int) -> str:
    offsets = arrays["vocabulary.offsets"]
    return arrays["vocabulary.bytes"][offsets[number] : offsets[number + 1]].tobytes().decode()


def _vocabulary(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    return [_spelt(arrays, number) for number in range(len(arrays["vocabulary.offsets"]) - 1)]


def _counted(values: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    return np.bincount(values, minlength=size).astype(np.int32)


def _pairs(kind: str, histories: Ragged, items: int, *, reach: int, both_ways: bool) -> dict[str, NDArray[Any]]:
    """Pairs of different items at most `reach` places apart, each counted once a person."""
    owners, values = histories.owners, histories.values.astype(np.int64)
    longest = int(histories.lengths.max(initial=0))
    keys, people = np.zeros(0, np.int64), np.zeros(0, np.int64)
    ends = _blocks(histories, min(reach, max(longest - 1, 1)))
    for start, end in zip([0, *ends], ends, strict=False):
        first, last = histories.offsets[start], histories.offsets[end]
        own, mine = owners[first:last], values[first:last]
        rows, pairs = [], []
        for distance in range(1, min(reach, longest - 1) + 1):
            there = np.flatnonzero(own[:-distance] == own[distance:])
            one, other = mine[there], mine[there + distance]
            if both_ways:
                one, other = np.minimum(one, other), np.maximum(one, other)
            kept = one != other
            rows.append(own[there][kept])
            pairs.append((one * items + other)[kept])
        if not rows:
            continue
        row, pair = np.concatenate(rows), np.concatenate(pairs)
        order = np.lexsort((pair, row))
        row, pair = row[order], pair[order]
        fresh = np.append(True, (row[1:] != row[:-1]) | (pair[1:] != pair[:-1]))[: len(row)]
        found, times = np.unique(pair[fresh], return_counts=True)
        keys, people = _summed(keys, people, found, times)
    named = people >= LEAST_PEOPLE
    return {f"{kind}.keys": keys[named], f"{kind}.people": people[named].astype(np.int32)}


def _blocks(histories: Ragged, reach: int) -> list[int]:
    """Ends of blocks of whole histories with so many pairs."""
    pairs = np.cumsum(histories.lengths * np.minimum(histories.lengths, reach))
    if not len(pairs):
        return []
    ends = np.searchsorted(pairs, np.arange(_PAIRS, pairs[-1] + _PAIRS, _PAIRS), side="right")
    return sorted({min(max(int(each), 1), len(histories)) for each in ends} | {len(histories)})


def _summed(
    keys: NDArray[np.int64], people: NDArray[np.int64], more: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found, where = np.unique(np.concatenate([keys, more]), return_inverse=True)
    return found, np.bincount(where, np.concatenate([people, times]), len(found)).astype(np.int64)


def _words(titles: Sequence[Any], items: int) -> dict[str, NDArray[Any]]:
    """Of each item the numbers of the telling words of its title, the rarest first; and the words."""
    found = [sorted(set(split(title))) if isinstance(title, str) else [] for title in titles] or [[]] * items
    times: dict[str, int] = {}
    for words in found:
        for word in words:
            times[word] = times.get(word, 0) + 1
    most = max(_COMMON * items, LEAST_PEOPLE)
    telling = [word for word, count in times.items() if 1 < count <= most and len(word) > 2 and not word.isdigit()]
    telling.sort(key=lambda word: (times[word], word))
    number = {word: place for place, word in enumerate(telling)}
    rows = Ragged.of([sorted(number[word] for word in words if word in number) for words in found])
    spelt = [word.encode() for word in telling]
    return {
        "words.offsets": rows.offsets,
        "words.numbers": rows.values.astype(np.int32),
        "vocabulary.offsets": np.append(0, np.cumsum([len(word) for word in spelt])).astype(np.int64),
        "vocabulary.bytes": np.frombuffer(b"".join(spelt), np.uint8).copy(),
    }
