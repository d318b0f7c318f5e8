"""Shelf: what sells lately among items of the history's brands and deepest categories.

    score(c) = sum over the history's items h of strength(h) * likeness(h, c) * (FLOOR + ln(1 + lately(c)))

likeness: `brand` * ln(items / items of the brand) where both have one brand, plus ln(items / items of the category)
where both have one deepest category. An item's likeness to itself counts nothing. lately: recent popularity (recent.py)
at the newest moment of the history.
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
from components.voices.fading import Days, strengths
from components.voices.kinds import codes, hashes
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.recent import Recent
from components.voices.voice import Voice

FLOOR = 0.02
"""What an item that nobody took lately is worth."""
_KINDS = ("brand", "leaf")
_NOTHING = 1e-6
"""A likeness below it is the rounding of an item's likeness to itself."""


class Shelf(Voice):
    """An item of other brands and categories than the history's is not recommended."""

    Settings = settings.Shelf

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        recent = Recent.build(learned, settings.Recent(days=chosen.days))
        items = len(learned.catalogue.table)
        arrays: dict[str, NDArray[Any]] = {**recent.arrays, "learned": np.array([items])}
        for name, code, known in zip(_KINDS, codes(learned), hashes(learned.texts, items), strict=False):
            arrays |= {name: code, **_values(name, code, known)}
        return cls(learned.catalogue, arrays, chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: a new item stands beside those of its brand and category; nobody took it lately."""
        arrays = dict(self.arrays)
        for name, new in zip(_KINDS, hashes(texts, self.new_items(catalogue)), strict=False):
            known = arrays[f"{name}.hashes"]
            fresh = np.setdiff1d(new[new >= 0], known)
            known = np.concatenate([known, fresh])
            order = np.argsort(known)
            places = order[np.minimum(np.searchsorted(known, new, sorter=order), len(known) - 1)] if len(known) else new
            arrays[f"{name}.hashes"] = known
            arrays[f"{name}.sizes"] = np.concatenate([arrays[f"{name}.sizes"], np.ones(len(fresh), np.int64)])
            arrays[name] = np.concatenate([arrays[name], np.where(new >= 0, places, -1).astype(np.int32)])
        return type(self)(catalogue, arrays, self.settings)

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
        parts = [self._weighted("brand", self.settings.brand), self._weighted("leaf", 1.0)]
        found: sparse.csr_array = sparse.hstack(parts).tocsr().astype(np.float32)
        return found

    def _weighted(self, name: str, weight: float) -> sparse.csr_array:
        """[items, values] of one kind."""
        code, sizes = self.arrays[name], self.arrays[f"{name}.sizes"]
        having = np.flatnonzero(code >= 0)
        worth = np.sqrt(weight * np.log(self.arrays["learned"][0] / np.maximum(sizes, 1)))
        cells = (worth[code[having]], (having, code[having]))
        return sparse.coo_array(cells, shape=(len(code), max(len(sizes), 1))).tocsr()

    @cached_property
    def _by_kind(self) -> sparse.csr_array:
        return self._kinds.T.tocsr()

    @cached_property
    def _own(self) -> Any:
        """[items] likeness of each to itself."""
        return np.asarray((self._kinds * self._kinds).sum(axis=1))


def _values(name: str, code: NDArray[np.int32], known: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Of each value of a kind: the hash by which it is recognised, and how many items had it at the training."""
    having = np.flatnonzero(code >= 0)
    sizes = np.bincount(code[having]).astype(np.int64)
    found = np.zeros(len(sizes), np.int64)
    found[code[having]] = known[having]
    return {f"{name}.hashes": found, f"{name}.sizes": sizes}
