"""Which words the ID of each item may have, as tokens: those of the item's own text, and which of them it must have.

    lexicon = Lexicon(tokenizer, own, twins, texts, rows, max_tokens=10)     # once for all items that get an ID
    legal = lexicon.legal(rows[:64], max_tokens=8)                           # of a batch, for IDs of 8 tokens

A near twin from which an item can be told is a *demand* on its ID: say a word that the twin's text lacks. A number that
is demanded is said with its unit, as one word: "60 ml".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from components.textid.words.measures import measures
from components.textid.words.own import OwnWords
from components.textid.words.pieces import in_pieces
from components.textid.words.tokenizer import end_id
from components.textid.words.twins import Twins
from components.textid.writing.demands import NEVER, affordable

MOST_DEMANDS = 4
"""Demands on one ID; those of most twins come first."""
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
    demands: Tensor
    """[n] int64: all demands on an ID, as bits."""
    costs: Tensor
    """[n, 2^D] int64: fewest tokens that meet each set of demands, behind other words."""

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
        rows: Sequence[int],
        *,
        max_tokens: int,
    ) -> None:
        """texts: of all items of `own`. rows: the items that get an ID, which has at most `max_tokens` tokens."""
        self._own, self._end = own, end_id(tokenizer)
        self._demands = {row: twins.apart[row] for row in rows if twins.apart.get(row)}
        phrases = {row: self._phrases(row, texts[row]) for row in self._demands}
        said = np.unique(np.concatenate([np.zeros(0, np.int32), *(own.documents.row(row) for row in rows)]))
        together = sorted({phrase for each in phrases.values() for phrase in each})
        entries = [*((number,) for number in said.tolist()), *together]
        self._entry = {words: entry for entry, words in enumerate(entries)}
        spoken = [" ".join(own.words[number] for number in words) for words in entries]
        self._tokens, self._lengths = in_pieces(tokenizer, spoken, max_tokens)
        self._single = np.full(len(own.words), -1, dtype=np.int64)
        self._single[said] = np.arange(len(said))
        self._sayable = {row: self._with_demands(row, phrases[row], max_tokens) for row in self._demands}

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
            meets[item, : len(entries)], cost = affordable(self._lengths[entries], bits, max_tokens)
            costs.append(cost)
        lengths = self._lengths[entry].transpose(0, 2, 1)
        longest = max(1, int(lengths.max()))
        tokens = self._tokens[entry][..., :longest].reshape(len(rows), widest, -1).transpose(0, 2, 1)
        columns, places, ends = _columns(tokens, self._end)
        most = max(map(len, costs), default=1)
        table = np.array([cost + [NEVER] * (most - len(cost)) for cost in costs], dtype=np.int64).reshape(-1, most)
        demands = np.array([len(cost) - 1 for cost in costs], dtype=np.int64)
        arrays = (tokens, places, lengths, columns, ends, meets, demands, table)
        return LegalWords(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def _of_row(self, row: int) -> tuple[Numbers, Numbers]:
        """Entries of an item, each once, and the demands that they meet."""
        if row in self._sayable:
            return self._sayable[row]
        entries = self._single[np.unique(self._own.documents.row(row))]
        return entries, np.zeros_like(entries)

    def _phrases(self, row: int, text: str) -> list[tuple[int, ...]]:
        """The measures in a text that hold a demanded number."""
        demanded = {self._own.words[number] for words in self._demands[row] for number in words}
        numbered = {word for word in demanded if any(sign.isdigit() for sign in word)}
        if not numbered:
            return []
        number = {self._own.words[each]: each for each in self._own.documents.row(row).tolist()}
        found = [tuple(words) for words in measures(text) if numbered & set(words) and number.keys() >= set(words)]
        return [tuple(number[word] for word in words) for words in dict.fromkeys(found)]

    def _with_demands(self, row: int, phrases: list[tuple[int, ...]], max_tokens: int) -> tuple[Numbers, Numbers]:
        """Entries of an item with demands: its measures and its other words."""
        most = _MEASURE_SHARE * max_tokens
        spelt = {each: self._lengths[self._entry[each]] for each in phrases}
        measured = [each for each, lengths in spelt.items() if lengths.all() and lengths.max() <= most]
        inside = {number for each in measured for number in each}
        singles = [(number,) for number in np.unique(self._own.documents.row(row)).tolist() if number not in inside]
        entries = [*measured, *singles]
        # What cannot be written everywhere meets nothing, and what nothing meets is not demanded.
        written = [set(words) if self._lengths[self._entry[words]].all() else set() for words in entries]
        demands = [demand for demand in self._demands[row] if any(demand & words for words in written)][:MOST_DEMANDS]
        meets = [sum(1 << bit for bit, demand in enumerate(demands) if demand & words) for words in written]
        return np.array([self._entry[words] for words in entries]), np.array(meets)


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
