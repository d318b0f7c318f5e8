"""What an item's text says: its words, without the labels of the item template.

    own = OwnWords.of(item_ids, texts)
    own.of_item("B0123")          # frozenset({"dutch", "oven", "grey"}): the words that its ID may have
    own.documents.row(3)          # numbers of the words of the fourth text, in its order, repeats included

"title: Dutch Oven, Grey" does not say "title".
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.storage.ragged import Ragged
from components.textid.words.normal import split

_LABEL_FORM = re.compile(r"(?:^|,\s)\s*([^\W\d]\w*):\s")
_LEAST = 0.05
"""A word before a colon is a label of the template if more than this share of the texts have it there."""


def template_labels(texts: Sequence[str]) -> frozenset[str]:
    """Field names of the item template, as they are written: words before a colon at the head of a field."""
    heads = Counter(head for text in texts for head in set(_LABEL_FORM.findall(text)))
    return frozenset(head for head, count in heads.items() if count > _LEAST * len(texts))


def without_labels(text: str, labels: frozenset[str]) -> str:
    """`text` with a comma for each label of its template."""
    return _LABEL_FORM.sub(lambda found: ", " if found[1] in labels else found[0], text)


@dataclass(frozen=True)
class OwnWords:
    """The words of a catalogue's texts as numbers, 4 bytes a word."""

    item_ids: Sequence[str]
    words: list[str]
    """All different words, sorted: a word's number does not depend on the order of the items."""
    documents: Ragged
    """Text -> numbers of its words, in its order, repeats included."""

    @classmethod
    def of(cls, item_ids: Sequence[str], texts: Sequence[str]) -> OwnWords:
        """Number the words of all texts, one for each item; linear in their length."""
        labels = template_labels(texts)
        met: dict[str, int] = {}
        flat, offsets = array("i"), np.zeros(len(texts) + 1, dtype=np.int64)
        for row, text in enumerate(texts):
            flat.extend(met.setdefault(word, len(met)) for word in split(without_labels(text, labels)))
            offsets[row + 1] = len(flat)
        words = sorted(met)
        number = np.empty(len(words), dtype=np.int32)
        number[np.fromiter(map(met.__getitem__, words), np.int64, len(words))] = np.arange(len(words))
        return cls(item_ids, words, Ragged(offsets, number[np.array(flat, dtype=np.int32)]))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Item id -> row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def of_row(self, row: int) -> frozenset[str]:
        """The words of text `row`."""
        return frozenset(self.words[number] for number in self.documents.row(row))

    def of_item(self, item_id: str) -> frozenset[str]:
        """The words of an item's text. Raises `KeyError` for an item that is not of the catalogue."""
        return self.of_row(self.row_of[item_id])
