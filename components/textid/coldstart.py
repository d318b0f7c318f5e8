"""What the generator learns first, from scratch: text -> its most distinctive words, in the order they occur.

    distinctive_words(texts, max_words=5)     # ["nutra nail day growth calcium", ...]

TF-IDF over the catalogue (Spärck Jones, 1972), bent so that the words read like a name; tuned by eye on the real
catalogues beside the IDs of the IDGenRec authors.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from components.textid.tokenizer import encode_words
from components.textid.words import split

# Below this many items a word grows no more distinctive: else typing errors and part numbers win over the brand.
_RARE = 4
# A word of more than this share of the texts names nothing ("beauty", "ounce"); it is taken where there is no other.
_COMMON = 0.25
# Position at which a word weighs half: what a text says first, its title, names the item best.
_HALF = 24
# A repeated word weighs 1 + _REPEATED x log(count).
_REPEATED = 0.3
# Share of its neighbours' weights that a word gets: "fisher price" and "hot wheels" stay whole.
_NEIGHBOURS = 0.2
# What a code ("135l01"), a number or a single letter weighs against a word: it separates, but nobody remembers it.
_CODE = 0.3
_CODE_FORM = re.compile(r"[0-9]+|.|(?=.*[0-9])(?=.*[^\W\d]).{5,}")
_LABEL_FORM = re.compile(r"(?:^|,\s)\s*([^\W\d]\w*):\s")


def distinctive_words(texts: Sequence[str], *, max_words: int) -> list[str]:
    """For each text at most `max_words` distinctive words, joined by spaces, in the order they occur.

    A text gets "" only if it holds no word but labels of the item template. Linear in the words of the catalogue;
    ties go to the earlier word.
    """
    catalogue = _Catalogue.read(texts)
    return [
        " ".join(catalogue.words[number] for number in _in_order(catalogue.ranked(row)[:max_words], document))
        for row, document in enumerate(catalogue.documents)
    ]


def ranked_words(texts: Sequence[str], *, max_words: int) -> list[list[str]]:
    """For each text at most `max_words` words, the most distinctive first."""
    catalogue = _Catalogue.read(texts)
    return [[catalogue.words[number] for number in catalogue.ranked(row)[:max_words]] for row in range(len(texts))]


def cold_start_targets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_words: int, max_tokens: int
) -> list[tuple[int, ...]]:
    """Token ids that the generator should write for each text, without the end token: whole words that fit.

    () for a text without a word; leave such an item out of the training.
    """
    return encode_words(tokenizer, fit(tokenizer, distinctive_words(texts, max_words=max_words), max_tokens=max_tokens))


def fit(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], *, max_tokens: int) -> list[str]:
    """The longest beginning of each, in whole words, that has at most `max_tokens` tokens ("" if no word fits)."""
    fitted = list(words)
    rows = list(range(len(fitted)))
    while rows:  # one round per word that has to go, over fewer and fewer rows
        lengths = [len(tokens) for tokens in encode_words(tokenizer, [fitted[row] for row in rows])]
        rows = [row for row, length in zip(rows, lengths, strict=True) if length > max_tokens]
        for row in rows:
            fitted[row] = fitted[row].rpartition(" ")[0]
    return fitted


@dataclass(frozen=True)
class _Catalogue:
    """Texts as arrays of word numbers (4 bytes a word, whatever the size of the catalogue), and each word's weight."""

    words: list[str]
    documents: list[array[int]]
    weights: list[float]
    common: list[bool]
    labels: frozenset[int]

    @classmethod
    def read(cls, texts: Sequence[str]) -> _Catalogue:
        numbers: dict[str, int] = {}
        documents = [array("I", (numbers.setdefault(word, len(numbers)) for word in split(text))) for text in texts]
        frequency = Counter(number for document in documents for number in set(document))
        words = list(numbers)
        return cls(
            words,
            documents,
            [_weight(word, frequency[number], len(texts)) for number, word in enumerate(words)],
            [frequency[number] > _COMMON * len(texts) for number in range(len(words))],
            frozenset(numbers[label] for label in _labels(texts)),
        )

    def ranked(self, row: int) -> list[int]:
        """Distinct words of text `row`, the most distinctive first; of a singular and a plural only the first."""
        document = self.documents[row]
        own = [self.weights[number] for number in document]
        counts, first = Counter(document), _first_positions(document)
        scores: dict[int, float] = {}
        for number, position in first.items():
            beside = sum(own[near] for near in (position - 1, position + 1) if 0 <= near < len(own))
            repeated = 1.0 + _REPEATED * math.log(counts[number])
            scores[number] = (own[position] * repeated + _NEIGHBOURS * beside) / (1.0 + position / _HALF)
        candidates = [number for number in first if number not in self.labels]
        candidates = [number for number in candidates if not self.common[number]] or candidates
        candidates.sort(key=lambda number: (-scores[number], first[number]))
        return list({_stem(self.words[number]): number for number in reversed(candidates)}.values())[::-1]


def _weight(word: str, frequency: int, texts: int) -> float:
    weight = math.log(max(texts / max(frequency, min(_RARE, texts)), 1.0))
    return weight * _CODE if _CODE_FORM.fullmatch(word) else weight


def _labels(texts: Sequence[str]) -> frozenset[str]:
    """Field names of the item template: words before a colon at the head of a field in many texts."""
    heads = Counter(head for text in texts for head in set(_LABEL_FORM.findall(text)))
    return frozenset(word for head, count in heads.items() if count > _COMMON / 5 * len(texts) for word in split(head))


def _first_positions(document: array[int]) -> dict[int, int]:
    return {number: position for position, number in reversed(list(enumerate(document)))}


def _in_order(chosen: list[int], document: array[int]) -> list[int]:
    first = _first_positions(document)
    return sorted(chosen, key=first.__getitem__)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
