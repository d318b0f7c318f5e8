"""The most distinctive words of each item text, in the order they occur: what the cold start teaches a generator.

    statistics = WordStatistics.of(texts)
    statistics.name(row, max_words=5)         # "nutra nail day growth calcium"

TF-IDF over the catalogue (Spärck Jones, 1972), adjusted so that the words read like a name; tuned by eye on real
catalogues beside the IDs of the IDGenRec authors.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from components.textid.words.normal import split
from components.textid.words.own import template_labels
from components.textid.words.tokenizer import encode_words

# Below this many items a word grows no more distinctive: else typing errors and part numbers win over the brand.
_RARE = 4
# A word of more than this share of the texts names nothing ("beauty", "ounce"); it is taken where there is no other.
_COMMON = 0.25
# Position at which a word weighs half: the beginning of a text, its title, names the item best.
_HALF = 24
# A word weighs this much more for each further field that repeats it: the title and the brand, or the title and the
# categories, agree on who made the item and on what it is.
_REPEATED = 0.7
# Share of its neighbours' weights that a word gets, if it is not dull: "fisher price" and "hot wheels" stay whole.
_NEIGHBOURS = 0.2
# A word of less than this share of the best one's score only fills up: "boscia purifying cleansing gel *fluid*".
_LEAST = 0.25
# What a code ("135l01"), a number, a single letter or a dull word weighs: it separates, but nobody remembers it.
_DULL = 0.3
_CODE = re.compile(r".*[0-9].*|.")
# English words that the statistics of one catalogue do not find: grammar, measures, shipping. A catalogue in another
# language has no such list.
_DULL_WORDS = frozenset(
    split("""
    a an and any are as at be by can do for from has have if in into is it its may more not of off on one only or our
    out so than that the their this to two up very we with without you your
    oz ounce ounces fl fluid ml lb lbs inch inches gram grams kg mg cm mm liter count counts ct pc pcs piece pieces ea
    each pack packs size packaging vary varies free shipping new
    """)
)


def ranked_words(texts: Sequence[str], rows: Iterable[int] | None = None, *, max_words: int) -> list[list[str]]:
    """For each text, or for those numbered `rows` alone, at most `max_words` words, the most distinctive first."""
    catalogue = WordStatistics.of(texts)
    rows = range(len(texts)) if rows is None else rows
    return [[catalogue.words[number] for number in catalogue.ranked(row)[:max_words]] for row in rows]


def cold_start_targets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_words: int, max_tokens: int
) -> list[tuple[int, ...]]:
    """Token ids that the generator should write for each text, without the end token: whole words that fit.

    Where not all fit, the most distinctive that do are taken, not the first. () for a text without a word that fits;
    leave such an item out of the training.
    """
    catalogue = WordStatistics.of(texts)
    targets = encode_words(tokenizer, [catalogue.name(row, max_words) for row in range(len(texts))])
    long = [row for row, tokens in enumerate(targets) if len(tokens) > max_tokens]
    chosen: dict[int, list[int]] = {row: [] for row in long}
    for place in range(max_words):  # the best word first, then each further one that fits beside those before it
        longer = {row: chosen[row] + catalogue.strong(row, max_words)[place : place + 1] for row in long}
        encoded = encode_words(tokenizer, [catalogue.in_order(row, numbers) for row, numbers in longer.items()])
        chosen |= {row: longer[row] for row, tokens in zip(long, encoded, strict=True) if len(tokens) <= max_tokens}
    for row, tokens in zip(
        long, encode_words(tokenizer, [catalogue.in_order(*each) for each in chosen.items()]), strict=True
    ):
        targets[row] = tokens
    return targets


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
class WordStatistics:
    """The texts of a catalogue as arrays of word numbers (4 bytes a word), and the weight of each word."""

    words: list[str]
    documents: list[array[int]]
    weights: list[float]
    common: list[bool]
    dull: list[bool]
    labels: frozenset[int]

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordStatistics:
        """Count the words of all texts; linear in their number."""
        numbers: dict[str, int] = {}
        documents = [array("I", (numbers.setdefault(word, len(numbers)) for word in split(text))) for text in texts]
        frequency = Counter(number for document in documents for number in set(document))
        words = list(numbers)
        return cls(
            words,
            documents,
            [_weight(word, frequency[number], len(texts)) for number, word in enumerate(words)],
            [frequency[number] > _COMMON * len(texts) for number in range(len(words))],
            [_is_dull(word) for word in words],
            frozenset(numbers[word] for label in template_labels(texts) for word in split(label)),
        )

    def ranked(self, row: int) -> list[int]:
        """Distinct words of text `row`, the most distinctive first; of a singular and a plural only the first."""
        return [number for number, _ in self._scored(row)]

    def strong(self, row: int, max_words: int) -> list[int]:
        """At most `max_words` words of text `row` to name it by, without those that only fill up.

        First what the first field shares with the others, then the most distinctive: five rarer words would leave no
        place for "shampoo".
        """
        scored = self._scored(row)
        strong = [number for number, score in scored if score >= _LEAST * scored[0][1]]
        return list(dict.fromkeys([*self._agreed(row, strong), *strong]))[:max_words]

    def in_order(self, row: int, chosen: Sequence[int]) -> str:
        """Words of text `row` in the order they occur."""
        first = _first_positions(self.documents[row])
        return " ".join(self.words[number] for number in sorted(chosen, key=first.__getitem__))

    def name(self, row: int, max_words: int) -> str:
        """At most `max_words` distinctive words of text `row`, joined by spaces, in the order they occur.

        "" only if the text holds no word but labels of the item template. Ties go to the earlier word.
        """
        return self.in_order(row, self.strong(row, max_words))

    def _scored(self, row: int) -> list[tuple[int, float]]:
        document = self.documents[row]
        own = [self.weights[number] for number in document]
        first, fields = _first_positions(document), self._fields(document)
        scores: dict[int, float] = {}
        for number, position in first.items():
            beside = sum(own[near] for near in (position - 1, position + 1) if 0 <= near < len(own))
            again = 1.0 + _REPEATED * (fields[_stem(self.words[number])] - 1)
            beside *= not self.dull[number]
            scores[number] = (own[position] * again + _NEIGHBOURS * beside) / (1.0 + position / _HALF)
        candidates = [number for number in first if number not in self.labels]
        candidates = [number for number in candidates if not self.common[number]] or candidates
        candidates.sort(key=lambda number: (-scores[number], first[number]))
        kept = {_stem(self.words[number]): number for number in reversed(candidates)}
        return [(number, scores[number]) for number in reversed(kept.values())]

    def _agreed(self, row: int, words: Sequence[int]) -> list[int]:
        """Of some words of text `row`, the rarest that the first field shares with each further one.

        With the brand that is who made it, with the categories what it is: "lotion" and not "body".
        """
        stems = [_stem(self.words[number]) for number in self.documents[row]]
        starts = [place for place, number in enumerate(self.documents[row]) if number in self.labels]
        fields = [set(stems[start:end]) for start, end in pairwise([*starts, len(stems)])]
        rarest = sorted(words, key=lambda number: -self.weights[number])
        shared = [[word for word in rarest if _stem(self.words[word]) in fields[0] & field] for field in fields[1:]]
        return [found[0] for found in shared if found]

    def _fields(self, document: array[int]) -> Counter[str]:
        """How many fields of a text hold each stem; a label of the template begins a field."""
        held: set[tuple[int, str]] = set()
        field = 0
        for number in document:
            field += number in self.labels
            held.add((field, _stem(self.words[number])))
        return Counter(stem for _, stem in held)


def _weight(word: str, frequency: int, texts: int) -> float:
    weight = math.log(max(texts / max(frequency, min(_RARE, texts)), 1.0))
    return weight * _DULL if _is_dull(word) else weight


def _is_dull(word: str) -> bool:
    return word in _DULL_WORDS or _CODE.fullmatch(word) is not None


def _first_positions(document: array[int]) -> dict[int, int]:
    return {number: position for position, number in reversed(list(enumerate(document)))}


@cache
def _stem(word: str) -> str:
    """A word without the mark of the plural: brushes -> brush, soaps -> soap, gloss stays."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith("ss"):
        return word
    return word[:-2] if word.endswith(("shes", "ches", "sses", "xes")) else word[:-1]
