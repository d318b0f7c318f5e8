"""What a language model adds to a sum of voices: for the sum's best items, how much likelier their IDs are after the
history than for anybody.

    language = Language.load(bundle, written(item_ids, texts, params.index, bundle=bundle)[0], drop_repeats=True)
    both = WithLanguage(fusion, language, weight=0.03)         # a scorer as any

The gain is log-probability of the ID over the trie of the shop, less that with an empty history (the prior), which
takes out that some words are frequent. Items beyond the sum's best keep their scores, and never pass those.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from components.foundation.weights import INSTRUCTED, TAUGHT, Kind
from components.networks.families import language_model
from components.ranking.lists import Held
from components.ranking.training import gains as gains_of
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.prompts.phrasings import Pieces
from components.settings.decoding import Decoding
from components.storage.ragged import Ints, Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import end_id
from components.textid.writing import instructed
from components.voices.fading import Days
from components.voices.lists import Scores, best, places
from components.voices.voice import Scorer

MOST = 100
"""Best items of the sum that the language model is asked about."""
_NEWEST = 10
"""Items of a history that an instruct model is told."""
_DECODING = Decoding(scores="trie")


class Language:
    """The recommender of a bundle over the IDs of another shop."""

    def __init__(self, engine: Engine, kind: Kind) -> None:
        self._engine, self.kind = engine, kind
        self._known = np.full(len(engine.catalogue.table), np.nan, np.float32)

    @classmethod
    def load(cls, bundle: Path, table: IdTable, *, drop_repeats: bool) -> Self:
        """`table`: IDs that the bundle's own generator wrote (`ids.written`). Raises `BadInput` for no bundle."""
        return cls(Engine.load(bundle, device="cpu", catalogue=Catalogue(table, drop_repeats=drop_repeats)), TAUGHT)

    @classmethod
    def instructed(cls, folder: Path, item_ids: Sequence[str], names: Sequence[str], *, drop_repeats: bool) -> Self:
        """A pretrained instruct model that nobody taught to recommend, asked in its own chat form: `names` are IDs.

        Raises `BadInput` for a folder without one.
        """
        model, tokenizer = instructed.load(folder)
        table = IdTable.from_words(tokenizer, dict(zip(item_ids, names, strict=True)))
        head, tail = instructed.around(tokenizer, instructed.NEXT)
        line = tuple(tokenizer.encode("\n", add_special_tokens=False))
        engine = Engine(
            language_model(model, end_token=end_id(tokenizer)),
            Pieces(heads=(tuple(head),), tails=(tuple(tail),), separator=line),
            Catalogue(table, drop_repeats=drop_repeats),
            max_history=_NEWEST,
            device=torch.device("cpu"),
        )
        return cls(engine, INSTRUCTED)

    def gains(self, histories: Ragged, candidates: Ragged) -> NDArray[np.float32]:
        """[candidates.values] log-probability of each candidate of each history, less its prior; nats."""
        ids = self._engine.catalogue.table.item_ids
        said = [[ids[item] for item in history] for history in histories]
        return self._engine.scores(said, candidates, _DECODING) - self._priors(candidates.values)

    def _priors(self, items: NDArray[np.integer]) -> NDArray[np.float32]:
        """[n] the score of each item with an empty history; each item is asked about once."""
        new = np.unique(items)
        new = new[np.isnan(self._known[new])]
        parts = Ragged.of([new[start : start + MOST].tolist() for start in range(0, len(new), MOST)])
        self._known[new] = self._engine.scores([[]] * len(parts), parts, _DECODING)
        return self._known[items]


class WithLanguage(Scorer):
    """A sum, and `weight` times the gain of its best items."""

    def __init__(self, base: Scorer, language: Language, weight: float) -> None:
        super().__init__(base.catalogue, {})
        self._base, self._language, self._weight = base, language, weight

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found, rows, items, gains = self.parts(histories, days)
        found[rows, items] += np.float32(self._weight) * gains
        return found

    def parts(self, histories: Ragged, days: Days) -> tuple[Scores, Ints, Ints, NDArray[np.float32]]:
        """The sum [users, items]; row, item and gain of what is asked about, the least gain of each user being 0."""
        found = self._base.scores(histories, days)
        excluded = histories if self.catalogue.drop_repeats else None
        listed, _ = best(found.copy(), MOST, least=self._base.LEAST, excluded=excluded)
        rows, columns = np.nonzero(listed >= 0)
        items = listed[rows, columns]
        counts = np.bincount(rows, minlength=len(histories))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        gains = self._language.gains(histories, Ragged(offsets, items))
        least = np.full(len(histories), np.inf, np.float32)
        np.minimum.at(least, rows, gains)
        return found, rows, items, gains - least[rows]


def ndcg_by_weight(both: WithLanguage, held: Held, weights: Sequence[float]) -> dict[float, float]:
    """Weight -> NDCG@10 on some targets: what a source chooses by."""
    found, rows, items, gains = both.parts(held.histories, held.days)
    excluded = held.histories if both.catalogue.drop_repeats else None
    values = {}
    for weight in weights:
        scores = found.copy()
        scores[rows, items] += np.float32(weight) * gains
        values[weight] = float(gains_of(places(scores, held.targets, least=both.LEAST, excluded=excluded)).mean())
    return values
