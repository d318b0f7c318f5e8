"""Popularity: the items that occur most often in the training histories, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.voices.voice import Ranked, Voice


class Popularity(Voice):
    """An item's score is its count; one that nobody has is not recommended."""

    @classmethod
    def build(cls, catalogue: Catalogue, histories: Ragged) -> Self:
        return cls(catalogue, {"counts": np.bincount(histories.values, minlength=len(catalogue.table))})

    def ranked(self, histories: Sequence[Sequence[int]]) -> Ranked:
        counts = self.arrays["counts"]
        order = np.lexsort((np.arange(len(counts)), -counts))
        order = order[counts[order] > 0]
        scores = counts[order].astype(np.float64)
        return ((order, scores) for _ in histories)
