"""Shelf: what sells lately among items of the history's brands and deepest categories.

    score(c) = sum over the history's items h of strength(h) * likeness(h, c) * (FLOOR + ln(1 + lately(c)))

likeness: `brand` * ln(items / items of the brand) where both have one brand, plus ln(items / items of the category)
where both have one deepest category. An item's likeness to itself counts nothing. lately: recent popularity (recent.py)
at the newest moment of the history.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days, strengths
from components.voices.kinds import codes
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.recent import Recent
from components.voices.voice import Voice

FLOOR = 0.02
"""What an item that nobody took lately is worth."""
_NOTHING = 1e-6
"""A likeness below it is the rounding of an item's likeness to itself."""


class Shelf(Voice):
    """An item of other brands and categories than the history's is not recommended."""

    Settings = settings.Shelf

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        recent = Recent.build(learned, settings.Recent(days=chosen.days))
        brand, leaf, _ = codes(learned)
        return cls(learned.catalogue, {**recent.arrays, "brand": brand, "leaf": leaf}, chosen)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        asked = strengths(histories, days, len(self.catalogue.table), self.settings)
        found = ((asked @ self._kinds).astype(np.float32) @ self._by_kind).toarray()
        own = asked.tocoo()
        cells = found[own.row, own.col] - own.data * self._own[own.col]
        found[own.row, own.col] = np.where(cells < _NOTHING, 0.0, cells)
        found *= FLOOR + np.log1p(self._recent.scores(histories, days))
        return found

    @cached_property
    def _recent(self) -> Recent:
        return Recent(self.catalogue, self.arrays, settings.Recent(days=self.settings.days))

    @cached_property
    def _kinds(self) -> sparse.csr_array:
        """[items, brands + categories]: the root of what a shared one is worth."""
        parts = [_weighted(self.arrays["brand"], self.settings.brand), _weighted(self.arrays["leaf"], 1.0)]
        found: sparse.csr_array = sparse.hstack(parts).tocsr().astype(np.float32)
        return found

    @cached_property
    def _by_kind(self) -> sparse.csr_array:
        return self._kinds.T.tocsr()

    @cached_property
    def _own(self) -> Any:
        """[items] likeness of each to itself."""
        return np.asarray((self._kinds * self._kinds).sum(axis=1))


def _weighted(kinds: NDArray[np.int32], weight: float) -> sparse.csr_array:
    """[items, values] of one kind, whose codes are `kinds`."""
    having = np.flatnonzero(kinds >= 0)
    sizes = np.bincount(kinds[having], minlength=1)
    worth = np.sqrt(weight * np.log(len(kinds) / np.maximum(sizes, 1)))
    cells = (worth[kinds[having]], (having, kinds[having]))
    return sparse.coo_array(cells, shape=(len(kinds), len(sizes))).tocsr()
