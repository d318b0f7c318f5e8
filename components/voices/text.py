"""Text: TF-IDF of item texts (Spärck Jones, 1972); an item scores the cosines to the history's items, summed.

A word counts 1 + ln(times in the item), a whole value 1, both times ln(items / items that have it); a vector has the
length 1. An item's likeness to itself counts nothing: not masked, a user's own items would come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.errors import BadInput
from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.settings.bounds import Section
from components.storage.ragged import Ragged
from components.textid.words.normal import split
from components.voices.fading import Days, strengths
from components.voices.learned import Learned
from components.voices.lists import Scores, best
from components.voices.matrix import lengthened, packed, strongest, unpacked
from components.voices.voice import Voice

_NOTHING = 1e-6
"""A cosine below it is the rounding of an item's likeness to itself."""
_CELLS = 1 << 22
"""Cosines at a time when neighbours are looked for: 16 MiB."""
_KEPT = 200
"""Neighbours of an item that are kept for whoever asks for as many or fewer."""


class Text(Voice):
    """An item that shares no feature with the history is not recommended: an empty history gets none."""

    Settings: ClassVar[type[Section] | None] = settings.Text

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        found, known = _weighted(learned, chosen)
        return cls(learned.catalogue, packed("text", found) | known, chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: new items get vectors of the features that the catalogue had."""
        new = self.of_new(texts, self.new_items(catalogue))
        longer = type(self)(catalogue, {**self.arrays, **lengthened(self.arrays, "text", new)}, self.settings)
        if "_vectors" in self.__dict__:  # whoever has answered already need not turn a whole catalogue over again
            vectors = unpacked(longer.arrays, "text", new.shape[1])
            longer.__dict__["_vectors"] = vectors, with_columns(self._vectors[1], new)
        return longer

    def of_new(self, texts: Mapping[str, Sequence[Any]], items: int) -> sparse.csr_array:
        """[items, features] the vectors of new items. Raises `BadInput` for a voice of before features were kept."""
        if "text.hashes" not in self.arrays:
            mend = "build it again: dvc repro --single-item --force rank, then register"
            raise BadInput("it does not say which features it knows", where="the voice text", mend=mend)
        hashes, rows, columns = self.arrays["text.hashes"], list[int](), list[int]()
        place: dict[tuple[str, str], int | None] = {}
        for row, feature in _features(texts, self.settings):
            if feature not in place:
                at = np.flatnonzero(hashes == np.uint64(hash_of(feature)))
                place[feature] = int(at[0]) if len(at) else None
            if (column := place[feature]) is not None:
                rows.append(row)
                columns.append(column)
        ones = np.ones(len(rows))
        counts = sparse.coo_array((ones, (rows, columns)), shape=(items, len(hashes))).tocsr()
        return _of_length_one(counts, self.arrays["text.rarity"].astype(np.float64))

    def near(self, vectors: sparse.csr_array, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """[rows, most] the items nearest to some vectors, -1 where there are fewer, and their cosines."""
        found = (vectors @ self._vectors[1]).toarray().astype(np.float32)
        return best(found, most, least=0.0)

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
        known = len(self.arrays["text.hashes"]) if "text.hashes" in self.arrays else int(indices.max(initial=-1)) + 1
        found = unpacked(self.arrays, "text", known)
        return found, found.T.tocsr()

    @cached_property
    def _squares(self) -> Any:
        """[items] squared lengths of the vectors: 1, or 0 where an item has no text."""
        vectors, _ = self._vectors
        return np.asarray((vectors * vectors).sum(axis=1))


def vectors(learned: Learned, chosen: settings.Text) -> sparse.csr_array:
    """[items, features] of float32, of length 1 or, without text, 0."""
    return _weighted(learned, chosen)[0]


def _weighted(learned: Learned, chosen: settings.Text) -> tuple[sparse.csr_array, dict[str, NDArray[Any]]]:
    """`vectors`, and what a new item's vector is made of: hash and rarity of each feature."""
    items, numbers = len(learned.catalogue.table), dict[tuple[str, str], int]()
    rows: list[int] = []
    columns: list[int] = []
    for row, feature in _features(learned.texts, chosen):
        rows.append(row)
        columns.append(numbers.setdefault(feature, len(numbers)))
    ones = np.ones(len(rows))
    found = sparse.coo_array((ones, (rows, columns)), shape=(items, len(numbers))).tocsr()
    having = np.bincount(found.indices, minlength=len(numbers))
    least = np.where([kind == "" for kind, _ in numbers], chosen.min_items, 1)
    rarity = np.where(having >= least, np.log(items / np.maximum(having, 1)), 0.0)
    known: dict[str, NDArray[Any]] = {
        "text.hashes": np.array([hash_of(feature) for feature in numbers], np.uint64),
        "text.rarity": rarity.astype(np.float32),
    }
    return _of_length_one(found, rarity), known


def _of_length_one(counts: sparse.csr_array, rarity: NDArray[Any]) -> sparse.csr_array:
    """Counts of features as vectors, each of length 1."""
    counts.data = (1.0 + np.log(counts.data)) * rarity[counts.indices]
    counts.eliminate_zeros()
    lengths = np.sqrt(np.asarray((counts * counts).sum(axis=1)))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts.astype(np.float32)


def hash_of(feature: tuple[str, str]) -> int:
    """64 bits by which a feature is found again: the words themselves would be most of a voice's file."""
    return int.from_bytes(hashlib.blake2b("\t".join(feature).encode(), digest_size=8).digest())


def with_columns(by_feature: sparse.csr_array, new: sparse.csr_array) -> sparse.csr_array:
    """[features, items] with a column at the end for each row of `new` [new items, features]."""
    turned = new.T.tocsr()
    counts = np.diff(turned.indptr)
    places = np.repeat(by_feature.indptr[1:], counts)
    parts = [
        np.insert(old, places, more.astype(old.dtype))
        for old, more in (
            (by_feature.indices, turned.indices + by_feature.shape[1]),
            (by_feature.data, turned.data),
        )
    ]
    starts = by_feature.indptr + np.concatenate([[0], np.cumsum(counts)]).astype(by_feature.indptr.dtype)
    shape = (by_feature.shape[0], by_feature.shape[1] + new.shape[0])
    return sparse.csr_array((parts[1], parts[0], starts), shape=shape)


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


def _features(texts: Mapping[str, Sequence[Any]], chosen: settings.Text) -> Iterator[tuple[int, tuple[str, str]]]:
    """(item number, feature): a word or pair of words as ("", words), a whole value as (column, value)."""
    for column in chosen.words:
        for row, value in _values(texts.get(column, ())):
            words = split(value)
            yield from ((row, ("", word)) for word in words)
            if chosen.pairs:
                yield from ((row, ("", f"{one} {other}")) for one, other in pairwise(words))
    for column in chosen.whole:
        yield from ((row, (column, value.lower())) for row, value in _values(texts.get(column, ())))


def _values(texts: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """(item number, text) of a column of texts or of lists of texts."""
    for row, value in enumerate(texts):
        for each in (value,) if isinstance(value, str) else value or ():
            if each:
                yield row, each
