"""Items some steps away: neighbours of neighbours in the item graph, or in the graph and in text by turns.

score = strengths(history) @ step 1 @ step 2 @ ...        # which steps: settings.voices.Paths.steps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices import text
from components.voices.fading import Days, strengths
from components.voices.graph import weights
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.matrix import empty_rows, lengthened, packed, strongest, unpacked, with_sum_one
from components.voices.voice import Voice


class Paths(Voice):
    """An item that no path leads to is not recommended."""

    Settings = settings.Paths

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        arrays: dict[str, NDArray[Any]] = {}
        for step in dict.fromkeys(chosen.steps):
            arrays |= packed(step, _matrix(step, learned, chosen))
        return cls(learned.catalogue, arrays, chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: no path leads to a new item."""
        more, arrays = self.new_items(catalogue), dict(self.arrays)
        for step in dict.fromkeys(self.settings.steps):
            arrays |= lengthened(self.arrays, step, empty_rows(more))
        return type(self)(catalogue, arrays, self.settings)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found = strengths(histories, days, len(self.catalogue.table), self.settings)
        for step in self.settings.steps:
            found = found @ self._matrices[step]
        return found.toarray().astype(np.float32, copy=False)

    @cached_property
    def _matrices(self) -> dict[str, sparse.csr_array]:
        return {step: unpacked(self.arrays, step, len(self.catalogue.table)) for step in self.settings.steps}


def _matrix(step: settings.Step, learned: Learned, chosen: settings.Paths) -> sparse.csr_array:
    """[items, items] of one kind of step."""
    if step == "text":
        similar = text.similar(learned, chosen.text, chosen.similar)
        similar.data **= 2
        return with_sum_one(similar)
    graph = weights(learned, chosen)
    return graph if step == "graph" else with_sum_one(strongest(graph, chosen.near))
