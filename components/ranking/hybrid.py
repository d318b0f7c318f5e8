"""Voices and the ranker that hears them, as one recommender in one directory.

hybrid = Hybrid.of(taught.choice.ranker, taught.reader, learned.catalogue, params.voices)
hybrid.recommend([["B001", "B007"]], 10, Decoding(), times=[[1389484800.0, 1390694400.0]])
hybrid.save(folder)                                        # components/ranking/load.py: load(folder)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.ranking.facts import Facts
from components.ranking.ranker import Ranker
from components.ranking.reading import Reader, features
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times, check_k, named_rows
from components.settings import ranking as settings
from components.settings.decoding import Decoding
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Listed, Scores
from components.voices.load import restored
from components.voices.view import View
from components.voices.voice import Scorer

_CELLS_KEPT = 1 << 23
"""Candidates that `HybridOnce` keeps: 160 MiB."""
_USERS = 1024
"""Lists at a time."""
_READER, _RANKER, _VOICES, _FACTS = "reader", "ranker", "voices", "facts"
"""Parts of a hybrid's arrays: PART/NAME, of voices VOICES/VOICE/NAME."""


class Hybrid(Scorer):
    """An item that no voice proposes is not recommended: a history that no voice knows gets none."""

    Settings = settings.Hybrid
    LEAST: ClassVar[float] = -np.inf

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any) -> None:
        super().__init__(catalogue, arrays, chosen)
        voices = {
            name: restored(name, catalogue, _part(arrays, f"{_VOICES}/{name}"), chosen.voices)
            for name in chosen.rank.voices
        }
        self.reader = Reader(voices, _part(arrays, _READER), chosen.rank)
        names = [each.name for each in features(chosen.rank)]
        self.ranker = Ranker.of(_part(arrays, _RANKER), names, chosen.rank.hidden)

    @classmethod
    def of(cls, ranker: Ranker, reader: Reader, catalogue: Catalogue, voices: Voices) -> Self:
        """`voices`: the settings that the reader's voices were built with."""
        arrays = _prefixed(_RANKER, ranker.arrays()) | _prefixed(_READER, reader.arrays)
        for name, voice in reader.voices.items():
            arrays |= _prefixed(f"{_VOICES}/{name}", voice.arrays)
        return cls(catalogue, arrays, settings.Hybrid(rank=reader.chosen, voices=voices))

    def with_facts(self, learned: Learned) -> Self:
        """The same with what explanations may state of the histories that its voices learned from."""
        arrays = {**self.arrays, **_prefixed(_FACTS, Facts.build(learned))}
        return type(self)(self.catalogue, arrays, self.settings)

    @cached_property
    def facts(self) -> Facts | None:
        """None where it was saved without any."""
        arrays = _part(self.arrays, _FACTS)
        if not arrays:
            return None
        return Facts(arrays, self.reader.arrays["kinds"], self.catalogue.table.item_ids, self.reader.arrays)

    def rebuilt(self, learned: Learned) -> Self:
        """The same ranker over voices of other histories, such as those with the validation items. Vectors that
        `learned` lacks are its own: no history is in them."""
        core = int(self.reader.arrays["core"][0])
        views = (each for each in self.reader.voices.values() if isinstance(each, View))
        own = {each.settings.of: each.dense for each in views if each.dense is not None}
        learned = replace(learned, views={**own, **learned.views})
        reader = Reader.build(learned, self.settings.rank, self.settings.voices, core=core)
        return type(self).of(self.ranker, reader, learned.catalogue, self.settings.voices)

    def lengthened(
        self, catalogue: Catalogue, known: Mapping[str, Sequence[Any]], texts: Mapping[str, Sequence[Any]]
    ) -> Self:
        """The same ranker for a longer catalogue, whose new items nobody took yet; nothing is learned again.

        known, texts: columns of the items that were there, and of the new ones. Raises `BadInput` where a voice has to
        be trained to know an item.
        """
        reader = self.reader.extended(catalogue, known, texts)
        longer = type(self).of(self.ranker, reader, catalogue, self.settings.voices)
        facts, items = _part(self.arrays, _FACTS), len(self.catalogue.table)
        if facts:
            more = len(catalogue.table) - items
            longer.arrays = {**longer.arrays, **_prefixed(_FACTS, Facts.extended(facts, texts, items=items, more=more))}
        return longer

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found = np.full((len(histories), len(self.catalogue.table)), -np.inf, np.float32)
        listed = self.listed(histories, days)
        found[listed.owners, listed.items] = listed.scores
        return found

    def listed(self, histories: Ragged, days: Days) -> Listed:
        """The scores of the candidates, which `scores` spreads over the catalogue."""
        owners, items, scores = [], [], []
        for block in self.reader.blocks(histories, days):
            owners.append(block.first + block.candidates.owners)
            items.append(block.candidates.items)
            scores.append(self.ranker.scores(block.columns))
        nothing = np.zeros(0, np.int64)
        return Listed(
            np.concatenate([nothing, *owners]),
            np.concatenate([nothing, *items]),
            np.concatenate([nothing.astype(np.float32), *scores]),
        )

    def listed_blocks(
        self, histories: Ragged, days: Days, progress: Progress | None = None
    ) -> Iterator[tuple[Ragged, Listed]]:
        """`listed` of some histories at a time, beside those histories, in order."""
        for start in (progress or Progress()).track(range(0, len(histories), _USERS), "recommend"):
            block = histories.between(start, start + _USERS)
            first = histories.offsets[start]
            yield block, self.listed(block, days[first : first + len(block.values)])

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """As `Scorer.recommend`, without a row of scores over the catalogue for each user."""
        check_k(k)
        known, days = self.read(histories, times)
        masked, size = self.catalogue.masks(decoding), len(self.catalogue.table)
        answers: list[list[Recommendation]] = []
        for block, listed in self.listed_blocks(known, days, progress):
            items, values = listed.best(len(block), k, items=size, excluded=block if masked else None)
            answers += named_rows(self.catalogue, items, values)
        return answers


class HybridOnce(Hybrid):
    """A hybrid that many ask the same: the lists of a question, if they are few, are computed once."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any) -> None:
        super().__init__(catalogue, arrays, chosen)
        self._kept: dict[bytes, Listed] = {}
        self._cells = 0

    def listed(self, histories: Ragged, days: Days) -> Listed:
        question = hashlib.sha256(histories.offsets.tobytes())
        question.update(histories.values.tobytes())
        question.update(days.tobytes())
        key = question.digest()
        if key in self._kept:
            return self._kept[key]
        found = super().listed(histories, days)
        if self._cells + len(found.items) <= _CELLS_KEPT:
            self._kept[key] = found
            self._cells += len(found.items)
        return found


def _prefixed(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{part}/{name}": array for name, array in arrays.items()}


def _part(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
