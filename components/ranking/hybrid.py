"""Voices and the ranker that hears them, as one recommender in one directory.

hybrid = Hybrid.of(taught.choice.ranker, taught.reader, learned.catalogue, params.voices)
hybrid.recommend([["B001", "B007"]], 10, Decoding(), times=[[1389484800.0, 1390694400.0]])
hybrid.save(folder)                                        # components/ranking/load.py: load(folder)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from components.ranking.facts import Facts
from components.ranking.ranker import Ranker
from components.ranking.reading import Reader, features
from components.recommender.catalogue import Catalogue
from components.settings import ranking as settings
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.load import restored
from components.voices.voice import Scorer

_CELLS_KEPT = 1 << 25
"""Scores that `HybridOnce` keeps: 128 MiB."""
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
        """The same ranker over voices of other histories, such as those with the validation items."""
        core = int(self.reader.arrays["core"][0])
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
        for block in self.reader.blocks(histories, days):
            owners = block.first + block.candidates.owners
            found[owners, block.candidates.items] = self.ranker.scores(block.columns)
        return found


class HybridOnce(Hybrid):
    """A hybrid that many ask the same: the scores of a question, if they are few, are computed once."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any) -> None:
        super().__init__(catalogue, arrays, chosen)
        self._kept: dict[bytes, Scores] = {}
        self._cells = 0

    def scores(self, histories: Ragged, days: Days) -> Scores:
        question = hashlib.sha256(histories.offsets.tobytes())
        question.update(histories.values.tobytes())
        question.update(days.tobytes())
        key = question.digest()
        if key in self._kept:
            return self._kept[key].copy()
        found = super().scores(histories, days)
        if self._cells + found.size <= _CELLS_KEPT:
            self._kept[key] = found.copy()
            self._cells += found.size
        return found


def _prefixed(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{part}/{name}": array for name, array in arrays.items()}


def _part(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
