"""Popularity: the items that occur most often in the training histories, the same for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.voice import Voice


class Popularity(Voice):
    """An item's score is its count; one that nobody has is not recommended."""

    @classmethod
    def build(cls, learned: Learned, chosen: Any = None) -> Self:
        return cls(learned.catalogue, {"counts": learned.counts})

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: a new item has the count 0."""
        counts = np.concatenate([self.arrays["counts"], np.zeros(self.new_items(catalogue), np.int64)])
        return type(self)(catalogue, {"counts": counts}, self.settings)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        return np.tile(self.arrays["counts"].astype(np.float32), (len(histories), 1))
