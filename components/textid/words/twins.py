"""Near twins: items whose texts are equal but for one to three words (a colour, a size, an edition), and those words.

    twins = near_twins(own)                      # OwnWords of the catalogue
    twins.apart[row]                             # [frozenset({7})]: an ID with word 7 is not its twin's

Texts are compared as sets of words. Of two texts of which neither has more than three words that the other lacks, the
four rarest words of each have one in common (prefix filtering; Chaudhuri et al., ICDE 2006), so only texts that share
one are looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.storage.ragged import Ints
from components.textid.words.own import OwnWords

MOST = 3
"""Words that a near twin's text may lack or have beyond the item's own; and they share more words than that."""
_FAMILY = 512
"""Texts with one rare word in common of which all are compared; in a larger family each with its neighbours."""
_NEIGHBOURS = 32
"""Texts before and after it, in the order of their words, that one of a larger family is compared with."""
_PAIRS = 1 << 19
"""Pairs that are compared at a time."""

Words = frozenset[int]


@dataclass(frozen=True)
class Twins:
    """For each item with a near twin, what sets it apart."""

    apart: dict[int, list[Words]]
    """Row -> sets of word numbers: an ID with a word of each of them has, for every near twin that can be told from the
    item, a word that the twin's text lacks. Most twins first; [] where every twin has all words of the item."""

    def told(self, row: int, said: Words) -> bool:
        """Whether an ID of the words `said` sets an item apart from all near twins from which its text can."""
        return all(words & said for words in self.apart[row])


def near_twins(own: OwnWords) -> Twins:
    """Find the near twins of a catalogue. Does not depend on the order of the items, or on their ids.

    The time grows with the families of texts that share a rare word, not with the square of the catalogue.
    """
    matrix = _matrix(own)
    texts = [frozenset(row.tolist()) for row in np.split(matrix.indices, matrix.indptr[1:-1])]
    found: dict[int, Counter[Words]] = defaultdict(Counter)
    for left, right in _pairs(matrix):
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            found[one][texts[one] - texts[other]] += 1
            found[other][texts[other] - texts[one]] += 1
    return Twins({row: _smallest(found[row]) for row in sorted(found)})


def _matrix(own: OwnWords) -> sparse.csr_array:
    """Texts x words, true where a text has a word; the columns of each row are sorted."""
    documents = own.documents
    cells = np.unique(documents.owners * len(own.words) + documents.values)
    rows, words = np.divmod(cells, max(1, len(own.words)))
    offsets = np.searchsorted(rows, np.arange(len(documents) + 1))
    shape = (len(documents), len(own.words))
    return sparse.csr_array((np.ones(len(cells), dtype=np.int32), words, offsets), shape=shape)


def _smallest(counts: Counter[Words]) -> list[Words]:
    """Sets that hold no other: who says a word of each says one of all. Those of most twins first."""
    kept: list[Words] = []
    for words in sorted((words for words in counts if words), key=len):
        if not any(smaller <= words for smaller in kept):
            kept.append(words)
    return sorted(kept, key=lambda words: (-counts[words], sorted(words)))


def _pairs(matrix: sparse.csr_array) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of near twins, each once, the smaller row left."""
    sizes = np.diff(matrix.indptr)
    seen = np.zeros(0, dtype=np.int64)
    for left, right in _candidates(matrix):
        left, right = np.minimum(left, right), np.maximum(left, right)
        keys = np.unique(left * len(sizes) + right)
        keys = keys[np.isin(keys, seen, invert=True)]
        left, right = np.divmod(keys, len(sizes))
        shared = np.concatenate([np.zeros(0, np.int64), *_overlaps(matrix, left, right)])
        most = np.maximum(sizes[left], sizes[right]) - shared
        twins = (most > 0) & (most <= MOST) & (shared > most)
        seen = np.union1d(seen, keys[twins])
        yield left[twins], right[twins]


def _overlaps(matrix: sparse.csr_array, left: Ints, right: Ints) -> Iterator[NDArray[np.int64]]:
    """Words that the texts of each pair share."""
    for start in range(0, len(left), _PAIRS // 8):
        part = slice(start, start + _PAIRS // 8)
        yield np.asarray(matrix[left[part]].multiply(matrix[right[part]]).sum(1), dtype=np.int64)


def _candidates(matrix: sparse.csr_array) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of texts of like size that share one of their rarest words, some of them more than once."""
    sizes = np.diff(matrix.indptr)
    rarest = _rarest(matrix).tocsc()
    together: list[tuple[Ints, Ints]] = []
    waiting = 0
    for start, end in zip(rarest.indptr[:-1], rarest.indptr[1:], strict=True):
        if end - start < 2:
            continue
        rows = rarest.indices[start:end].astype(np.int64)
        left, right = _all_pairs(rows) if len(rows) <= _FAMILY else _neighbours(matrix, rows)
        alike = np.abs(sizes[left] - sizes[right]) <= MOST
        together.append((left[alike], right[alike]))
        waiting += int(alike.sum())
        if waiting > _PAIRS:
            yield _joined(together)
            together, waiting = [], 0
    if together:
        yield _joined(together)


def _joined(parts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    left, right = zip(*parts, strict=True)
    return np.concatenate(left), np.concatenate(right)


def _rarest(matrix: sparse.csr_array) -> sparse.csr_array:
    """The cells of each text's rarest words, one more than near twins may differ in; ties by word number."""
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, frequency[matrix.indices], rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    first = order[place <= MOST]
    return sparse.csr_array((matrix.data[first], (rows[first], matrix.indices[first])), shape=matrix.shape)


def _all_pairs(rows: Ints) -> tuple[Ints, Ints]:
    left, right = np.triu_indices(len(rows), 1)
    return rows[left], rows[right]


def _neighbours(matrix: sparse.csr_array, rows: Ints) -> tuple[Ints, Ints]:
    """Pairs of texts that lie near each other in the order of their words, the most frequent of the family first."""
    part = matrix[rows]
    frequency = np.bincount(part.indices, minlength=matrix.shape[1])
    said = [
        sorted(words.tolist(), key=lambda word: (-frequency[word], word))
        for words in np.split(part.indices, part.indptr[1:-1])
    ]
    ordered = rows[sorted(range(len(rows)), key=said.__getitem__)]
    steps = range(1, _NEIGHBOURS + 1)
    return np.concatenate([ordered[:-step] for step in steps]), np.concatenate([ordered[step:] for step in steps])
