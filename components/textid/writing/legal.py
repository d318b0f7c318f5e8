"""Which words the ID of each item may have, as tokens: those of the item's own text, and which of them it must have.

    lexicon = Lexicon(tokenizer, own, twins, texts, rows, max_tokens=10)     # once for all items that get an ID
    legal = lexicon.legal(rows[:64], max_tokens=8)                           # of a batch, for IDs of 8 tokens

A near twin from which an item can be told is a *demand* on its ID: say a word that the twin's text lacks. A number that
is demanded is said with its unit, as one word: "60 ml".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from components.textid.words.measures import measures
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import cuts_by_word, decode_words, encode_words, end_id
from components.textid.words.twins import Twins

MOST_DEMANDS = 4
"""Demands on one ID; those of most twins come first."""
_NEVER = 1 << 20
"""More tokens than any ID has."""
_BEFORE = "a"
"""The word behind which others are tried: some tokenizers write the first word of an ID in other tokens."""
_MEASURE_SHARE = 0.5
"""A number is said without its unit where both take more than this share of an ID."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LegalWords:
    """The legal words of n items: W words, each of at most L tokens, and all their tokens as C columns."""

    tokens: Tensor
    """[n, 2 * L, W] int64: tokens of each word as the first of an ID, then as a later one; -1 where there is none."""
    places: Tensor
    """[n, 2 * L, W] int64: the column of each of them, anything where there is none."""
    lengths: Tensor
    """[n, 2, W] int64: how many there are; 0 for a word that cannot stand there."""
    columns: Tensor
    """[n, C] int64: the tokens of an item's words, rising, each once; then the end token, also as padding."""
    ends: Tensor
    """[n] int64: the column of the end token."""
    meets: Tensor
    """[n, W] int64: the demands that a word meets, as bits."""
    costs: Tensor
    """[n, 2^D] int64: fewest tokens of later words that meet each set of demands; all of an item's is its last one that
    can be met."""
    demands: Tensor
    """[n] int64: all demands on an ID, as bits."""

    def to(self, device: torch.device) -> LegalWords:
        """The same on a device; the host does not wait."""
        return LegalWords(*(getattr(self, each.name).to(device, non_blocking=True) for each in fields(self)))


class Lexicon:
    """The words of items' texts as a tokenizer writes them."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        own: OwnWords,
        twins: Twins,
        texts: Sequence[str],
        rows: Iterable[int],
        *,
        max_tokens: int,
    ) -> None:
        """texts: of all items of `own`. rows: the items that get an ID, which has at most `max_tokens` tokens."""
        self._own, self._end = own, end_id(tokenizer)
        self._demanding = {row: twins.apart[row][:MOST_DEMANDS] for row in rows if twins.apart.get(row)}
        phrases = {row: self._phrases(row, texts[row]) for row in self._demanding}
        said = np.unique(np.concatenate([np.zeros(0, np.int32), *(own.documents.row(row) for row in rows)]))
        together = sorted({phrase for each in phrases.values() for phrase in each})
        entries = [*((number,) for number in said.tolist()), *together]
        self._entry = {words: entry for entry, words in enumerate(entries)}
        spoken = [" ".join(own.words[number] for number in words) for words in entries]
        self._tokens, self._lengths = _spelt(tokenizer, spoken, max_tokens)
        self._single = np.full(len(own.words), -1, dtype=np.int64)
        self._single[said] = np.arange(len(said))
        self._sayable = {row: self._with_demands(row, phrases[row], max_tokens) for row in self._demanding}

    def said_by(self, row: int) -> list[tuple[list[str], int]]:
        """What the ID of an item may say: words that stand together, mostly one, and the demands that they meet."""
        words = list(self._entry)
        entries, meets = self._of_row(row)
        return [
            ([self._own.words[number] for number in words[entry]], bits)
            for entry, bits in zip(entries.tolist(), meets.tolist(), strict=True)
        ]

    def legal(self, rows: Sequence[int], *, max_tokens: int) -> LegalWords:
        """The legal words of a batch, for IDs of at most `max_tokens` tokens.

        A demand that does not fit beside those before it is dropped.
        """
        found = [self._of_row(row) for row in rows]
        widest = max([1, *(len(entries) for entries, _ in found)])
        entry = np.full((len(rows), widest), len(self._tokens) - 1, dtype=np.int64)  # the last one has no tokens
        meets = np.zeros((len(rows), widest), dtype=np.int64)
        costs: list[list[int]] = []
        for item, (entries, bits) in enumerate(found):
            entry[item, : len(entries)] = entries
            met, cost = self._affordable(entries, bits, max_tokens)
            meets[item, : len(entries)] = met
            costs.append(cost)
        lengths = self._lengths[entry].transpose(0, 2, 1)
        longest = max(1, int(lengths.max()))
        tokens = self._tokens[entry][..., :longest].reshape(len(rows), widest, -1).transpose(0, 2, 1)
        columns, places, ends = _columns(tokens, self._end)
        most = max(map(len, costs), default=1)
        table = np.array([cost + [_NEVER] * (most - len(cost)) for cost in costs], dtype=np.int64).reshape(-1, most)
        demands = np.array([len(cost) - 1 for cost in costs], dtype=np.int64)
        arrays = (tokens, places, lengths, columns, ends, meets, table, demands)
        return LegalWords(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def _of_row(self, row: int) -> tuple[Numbers, Numbers]:
        """Entries of an item, each once, and the demands that they meet."""
        if row in self._demanding:
            return self._sayable[row]
        entries = self._single[np.unique(self._own.documents.row(row))]
        return entries, np.zeros_like(entries)

    def _phrases(self, row: int, text: str) -> list[tuple[int, ...]]:
        """The measures in a text that hold a demanded number."""
        demanded = {self._own.words[number] for words in self._demanding[row] for number in words}
        numbered = {word for word in demanded if any(sign.isdigit() for sign in word)}
        if not numbered:
            return []
        number = {self._own.words[each]: each for each in self._own.documents.row(row).tolist()}
        found = [tuple(words) for words in measures(text) if numbered & set(words) and number.keys() >= set(words)]
        return [tuple(number[word] for word in words) for words in dict.fromkeys(found)]

    def _with_demands(self, row: int, phrases: list[tuple[int, ...]], max_tokens: int) -> tuple[Numbers, Numbers]:
        """Entries of an item with demands: its measures and its other words."""
        most = _MEASURE_SHARE * max_tokens
        measured = [each for each in phrases if 0 < self._lengths[self._entry[each]].max() <= most]
        inside = {number for each in measured for number in each}
        singles = [(number,) for number in np.unique(self._own.documents.row(row)).tolist() if number not in inside]
        entries = [*measured, *singles]
        meets = [self._met(row, words) for words in entries]
        return np.array([self._entry[words] for words in entries]), np.array(meets)

    def _met(self, row: int, words: tuple[int, ...]) -> int:
        """The demands on an item that some words meet, as bits; none where they cannot be written."""
        if not self._lengths[self._entry[words]].all():
            return 0
        return sum(1 << bit for bit, demand in enumerate(self._demanding[row]) if demand & set(words))

    def _affordable(self, entries: Numbers, meets: Numbers, max_tokens: int) -> tuple[Numbers, list[int]]:
        """The bits of demands that fit into an ID, and the cost of each set of them."""
        wanted = meets.nonzero()[0]
        if not len(wanted):
            return meets, [0]
        lengths, bits = self._lengths[entries[wanted]], meets[wanted].tolist()
        count = int(max(bits)).bit_length()
        while count and _costs(lengths.max(1).tolist(), bits, count)[-1] > max_tokens:
            count -= 1
        return meets & ((1 << count) - 1), _costs(lengths[:, 1].tolist(), bits, count)


def _costs(lengths: Sequence[int], meets: Sequence[int], count: int) -> list[int]:
    """The fewest tokens of words of such `lengths` that meet each set of `count` demands."""
    costs = [0]
    for wanted in range(1, 1 << count):
        ways = (length + costs[wanted & ~met] for length, met in zip(lengths, meets, strict=True) if wanted & met)
        costs.append(min(ways, default=_NEVER))
    return costs


def _spelt(tokenizer: PreTrainedTokenizerBase, spoken: Sequence[str], longest: int) -> tuple[Numbers, Numbers]:
    """Tokens [n + 1, 2, longest] of some words at the beginning of an ID and later in it, -1 as padding, and their
    counts [n + 1, 2]: 0 for what does not read back, or is too long. The last row has none.
    """
    first = encode_words(tokenizer, spoken)
    later = first if cuts_by_word(tokenizer) else _behind(tokenizer, spoken)
    tokens = np.full((len(spoken) + 1, 2, longest), -1, dtype=np.int64)
    lengths = np.zeros((len(spoken) + 1, 2), dtype=np.int64)
    readings = (decode_words(tokenizer, first), spoken), (_read_behind(tokenizer, later), spoken)
    for which, (rows, (read, meant)) in enumerate(zip((first, later), readings, strict=True)):
        for entry, (row, said, word) in enumerate(zip(rows, read, meant, strict=True)):
            if said == word and 0 < len(row) <= longest:
                tokens[entry, which, : len(row)] = row
                lengths[entry, which] = len(row)
    return tokens, lengths


def _behind(tokenizer: PreTrainedTokenizerBase, spoken: Sequence[str]) -> list[tuple[int, ...]]:
    """The tokens of words that stand behind another; () where they cannot be told from that one's."""
    (before,) = encode_words(tokenizer, [_BEFORE])
    rows = encode_words(tokenizer, [f"{_BEFORE} {words}" for words in spoken])
    return [row[len(before) :] if row[: len(before)] == before else () for row in rows]


def _read_behind(tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[int, ...]]) -> list[str]:
    """What tokens say behind another word."""
    (before,) = encode_words(tokenizer, [_BEFORE])
    read = decode_words(tokenizer, [(*before, *row) for row in rows])
    return [said.removeprefix(f"{_BEFORE} ") for said in read]


def _columns(tokens: Numbers, end: int) -> tuple[Numbers, Numbers, Numbers]:
    """`LegalWords.columns`, `places` and `ends` of tokens [n, 2 * L, W]."""
    flat = tokens.reshape(len(tokens), -1)
    order = flat.argsort(axis=1, kind="stable")
    rising = np.take_along_axis(flat, order, 1)
    new = (rising >= 0) & (rising != np.roll(rising, 1, axis=1))
    new[:, 0] = rising[:, 0] >= 0
    rank = new.cumsum(1) - 1
    ends = rank[:, -1] + 1
    columns = np.full((len(tokens), int(ends.max(initial=0)) + 1), end, dtype=np.int64)
    items, cells = new.nonzero()
    columns[items, rank[items, cells]] = rising[items, cells]
    places = np.zeros_like(flat)
    np.put_along_axis(places, order, rank.clip(0), 1)
    return columns, places.reshape(tokens.shape), ends
