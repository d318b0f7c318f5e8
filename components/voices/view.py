"""A view (pictures, sounds, relations): an item scores its cosines to the history's items, summed.

    voice = build("view:poster", replace(learned, views=load(layout.views, item_ids)))

As `text`, over vectors that were made before (the stage `views`). It proposes items that nobody has taken yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.storage.vectors import Edges
from components.voices.fading import Days, strengths
from components.voices.learned import Learned
from components.voices.lists import Scores, best
from components.voices.matrix import empty_rows, lengthened, packed, strongest
from components.voices.text import Text, neighbours

_DENSE = "dense"
_CELLS = 1 << 22


class View(Text):
    """An item without the view is never recommended, and a history without it gets nothing."""

    Settings: ClassVar[Any] = settings.View

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        """Raises `LookupError` where there is no such view."""
        if chosen.of not in learned.views:
            raise LookupError(f"there is no view {chosen.of!r}: {', '.join(learned.views) or 'none at all'}")
        view = learned.views[chosen.of]
        arrays: dict[str, NDArray[Any]]
        if isinstance(view, Edges):
            shape = (view.items, len(view.kinds))
            arrays = packed("text", sparse.csr_array((view.data, view.indices, view.indptr), shape=shape))
        else:
            arrays = {_DENSE: np.ascontiguousarray(view, np.float32)}
        return cls(learned.catalogue, arrays, chosen)

    @property
    def dense(self) -> NDArray[np.float32] | None:
        """[items, numbers] the vectors, or None where they are edges."""
        return self.arrays.get(_DENSE)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        if _DENSE not in self.arrays:
            return super().scores(histories, days)
        vectors = self.arrays[_DENSE]
        asked = strengths(histories, days, len(vectors), self.settings)
        found: Scores = np.asarray(asked @ vectors, np.float32) @ vectors.T
        own = asked.tocoo()
        found[own.row, own.col] -= own.data * self._squared[own.col]
        return found

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: a column `view:NAME` of `texts` holds the vectors of new items, 0 for one without; without
        that column, and of relations, they have none until `views` has run for them."""
        more, arrays = self.new_items(catalogue), dict(self.arrays)
        if _DENSE in arrays:
            arrays[_DENSE] = np.concatenate([arrays[_DENSE], self.of_new(texts, more).toarray()])
        else:
            arrays |= lengthened(arrays, "text", empty_rows(more))
        return type(self)(catalogue, arrays, self.settings)

    def of_new(self, texts: Mapping[str, Sequence[Any]], items: int) -> sparse.csr_array:
        if _DENSE not in self.arrays:
            return empty_rows(items)
        nothing = np.zeros((items, self.arrays[_DENSE].shape[1]), np.float32)
        return sparse.csr_array(np.asarray(texts.get(f"{self.settings.FILE}:{self.settings.of}", nothing), np.float32))

    def near(self, vectors: sparse.csr_array, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Nothing is like an item without the view."""
        if _DENSE in self.arrays and vectors.nnz:
            return best(vectors @ self.arrays[_DENSE].T, most, least=0.0)
        shape = (vectors.shape[0], most)
        return np.full(shape, -1, np.int64), np.zeros(shape, np.float32)

    def similar(self, learned: Learned, most: int) -> sparse.csr_array:
        """Computed once for all who ask of the same vectors."""
        key = f"view {self.settings.of} {most}"
        own = learned.views[self.settings.of]
        of, found = learned.of_texts.get(key, (None, None))
        if of is not own:
            found = self._neighbours(most)
            learned.of_texts[key] = own, found
        return strongest(found, most)

    def _neighbours(self, most: int) -> sparse.csr_array:
        if _DENSE not in self.arrays:
            return neighbours(self._vectors[0], most)
        vectors = self.arrays[_DENSE]
        items = len(vectors)
        pieces, height = [], max(1, _CELLS // max(items, 1))
        for start in range(0, items, height):
            cosines = vectors[start : start + height] @ vectors.T
            own = np.arange(start, start + len(cosines))
            near, values = best(cosines, most, least=0.0, excluded=Ragged(np.arange(len(own) + 1), own))
            pieces.append((np.repeat(own, near.shape[1])[near.ravel() >= 0], near[near >= 0], values[near >= 0]))
        rows, columns, data = (np.concatenate(each) for each in zip(*pieces, strict=True))
        return sparse.coo_array((data, (rows, columns)), shape=(items, items)).tocsr()

    @cached_property
    def _squared(self) -> NDArray[np.float32]:
        vectors = self.arrays[_DENSE]
        return np.asarray(np.einsum("id,id->i", vectors, vectors))
