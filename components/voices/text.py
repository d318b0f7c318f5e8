"""Text: TF-IDF of item texts (Spärck Jones, 1972); an item scores the cosines to the history's items, summed.

A word counts 1 + ln(times in the item), a whole value 1, both times ln(items / items that have it); a vector has the
length 1. An item's likeness to itself counts nothing: not masked, a user's own items would come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from scipy import sparse

from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.textid.words.normal import split
from components.voices.fading import Days, strengths
from components.voices.learned import Learned
from components.voices.lists import Scores, best
from components.voices.matrix import packed, strongest, unpacked
from components.voices.voice import Voice

_NOTHING = 1e-6
"""A cosine below it is the rounding of an item's likeness to itself."""
_CELLS = 1 << 22
"""Cosines at a time when neighbours are looked for: 16 MiB."""
_KEPT = 200
"""Neighbours of an item that are kept for whoever asks for as many or fewer."""


class Text(Voice):
    """An item that shares no feature with the history is not recommended: an empty history gets none."""

    Settings = settings.Text

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        return cls(learned.catalogue, packed("text", vectors(learned, chosen)), chosen)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        vectors, by_feature = self._vectors
        asked = strengths(histories, days, vectors.shape[0], self.settings)
        found = ((asked @ vectors).astype(np.float32) @ by_feature).toarray()
        own = asked.tocoo()
        cells = found[own.row, own.col] - own.data * self._squares[own.col]
        found[own.row, own.col] = np.where(cells < _NOTHING, 0.0, cells)
        return found

    def similar(self, learned: Learned, most: int) -> sparse.csr_array:
        """[items, items]: cosines to the `most` most similar other items of each."""
        return similar(learned, self.settings, most)

    @cached_property
    def _vectors(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        """[items, features] and [features, items]."""
        indices = self.arrays["text.indices"]
        found = unpacked(self.arrays, "text", int(indices.max(initial=-1)) + 1)
        return found, found.T.tocsr()

    @cached_property
    def _squares(self) -> Any:
        """[items] squared lengths of the vectors: 1, or 0 where an item has no text."""
        vectors, _ = self._vectors
        return np.asarray((vectors * vectors).sum(axis=1))


def vectors(learned: Learned, chosen: settings.Text) -> sparse.csr_array:
    """[items, features] of float32, of length 1 or, without text, 0."""
    items, numbers = len(learned.catalogue.table), dict[tuple[str, str], int]()
    rows: list[int] = []
    columns: list[int] = []
    for row, feature in _features(learned, chosen):
        rows.append(row)
        columns.append(numbers.setdefault(feature, len(numbers)))
    ones = np.ones(len(rows))
    found = sparse.coo_array((ones, (rows, columns)), shape=(items, len(numbers))).tocsr()
    having = np.bincount(found.indices, minlength=len(numbers))
    least = np.where([kind == "" for kind, _ in numbers], chosen.min_items, 1)
    rarity = np.where(having >= least, np.log(items / np.maximum(having, 1)), 0.0)
    found.data = (1.0 + np.log(found.data)) * rarity[found.indices]
    found.eliminate_zeros()
    lengths = np.sqrt(np.asarray((found * found).sum(axis=1)))
    found.data /= np.repeat(lengths, np.diff(found.indptr))
    return found.astype(np.float32)


def similar(learned: Learned, chosen: settings.Text, most: int) -> sparse.csr_array:
    """`neighbours` of all items by their `vectors`, computed once for all who ask."""
    kept, key = max(most, _KEPT), f"{chosen} {max(most, _KEPT)}"
    texts, found = learned.of_texts.get(key, (None, None))
    if texts is not learned.texts:
        found = neighbours(vectors(learned, chosen), kept)
        learned.of_texts[key] = learned.texts, found
    return strongest(found, most)


def neighbours(vectors: sparse.csr_array, most: int) -> sparse.csr_array:
    """[items, items]: cosines to the `most` most similar other items of each."""
    items, by_feature = vectors.shape[0], vectors.T.tocsr()
    pieces, height = [], max(1, _CELLS // items)
    for start in range(0, items, height):
        found = (vectors[start : start + height] @ by_feature).toarray()
        own = np.arange(start, start + len(found))
        near, cosines = best(found, most, least=0.0, excluded=Ragged(np.arange(len(own) + 1), own))
        pieces.append((np.repeat(own, near.shape[1])[near.ravel() >= 0], near[near >= 0], cosines[near >= 0]))
    rows, columns, data = (np.concatenate(each) for each in zip(*pieces, strict=True))
    return sparse.coo_array((data, (rows, columns)), shape=(items, items)).tocsr()


def _features(learned: Learned, chosen: settings.Text) -> Iterator[tuple[int, tuple[str, str]]]:
    """(item number, feature): a word or pair of words as ("", words), a whole value as (column, value)."""
    for column in chosen.words:
        for row, value in _values(learned.texts.get(column, ())):
            words = split(value)
            yield from ((row, ("", word)) for word in words)
            if chosen.pairs:
                yield from ((row, ("", f"{one} {other}")) for one, other in pairwise(words))
    for column in chosen.whole:
        yield from ((row, (column, value.lower())) for row, value in _values(learned.texts.get(column, ())))


def _values(texts: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """(item number, text) of a column of texts or of lists of texts."""
    for row, value in enumerate(texts):
        for each in (value,) if isinstance(value, str) else value or ():
            if each:
                yield row, each
