"""Whole histories as samples: one causal forward over a row teaches every item in it from the items before it.

    windows = Windows(offsets, items, token_ids, pieces, max_history=20)
    for rows in windows.epoch(seed=17, number=0, batch_size=64):
        batch = windows.collate(rows)                      # batch.inline: the targets stand in the prompt itself

A row is the beginning of a prompt and then items, each closed by the end token: every item ends the prompt of the next
one. `batches.Samples` has one row for each of these prompts, with the same tokens; a test holds the losses equal.

A history that is too long for one row is cut into windows. Every item is taught exactly once, and with at least half a
window of items before it, where it has so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from components.recommender.batches import (
    IGNORED,
    MAX_TOKENS,
    PAD,
    Batch,
    Ints,
    grouped,
    pack,
    padded_lengths,
    slices,
)
from components.recommender.prompts import Pieces


@dataclass(frozen=True)
class Spans:
    """Some windows, as places in the packed histories: items[first:end] are read, items[taught:end] are taught."""

    first: Ints
    taught: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Ints | slice) -> Spans:
        return Spans(self.first[rows], self.taught[rows], self.end[rows])


@dataclass(frozen=True)
class WindowRows:
    """The windows of one batch, their phrasings, and the length they are padded to."""

    spans: Spans
    templates: Ints
    length: int

    def __len__(self) -> int:
        return len(self.spans)

    def share(self, rank: int, ranks: int) -> WindowRows:
        """Every `ranks`-th row from `rank` on: the shares of all ranks are the whole batch. It may be empty."""
        own = slice(rank, None, ranks)
        return WindowRows(self.spans[own], self.templates[own], self.length)


class Windows:
    """All windows of a set of histories under one ID table; the arguments are those of `batches.Samples`.

    `pieces` are closed and have no tails (`Prompts.open_ended`). The first item of a history is taught too, from the
    prompt without items: what is likely for anyone.
    """

    def __init__(
        self,
        offsets: Ints,
        items: Ints,
        token_ids: Sequence[Sequence[int]],
        pieces: Pieces,
        *,
        max_history: int,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        assert pieces.closed and not any(pieces.tails), "a prompt must be the beginning of each longer one"
        self._offsets = np.asarray(offsets, dtype=np.int64)
        self._max_history = max_history
        self._heads = pack(pieces.heads)
        self._head_lengths = np.diff(self._heads[0])
        self._room = max_tokens - int(self._head_lengths.max())
        packed = pack([(*item, *pieces.separator) for item in token_ids])
        numbers = np.asarray(items, dtype=np.int64)
        lengths = np.diff(packed[0])[numbers]
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self._stream = slices(packed[1], packed[0][numbers], lengths)[2]

    @cached_property
    def spans(self) -> Spans:
        """The windows that teach every item once, from the newest end of each history backwards."""
        nothing = np.zeros(0, dtype=np.int64)
        found = [Spans(nothing, nothing, nothing)]
        begin, end = self._offsets[:-1], self._offsets[1:]
        begin, end = begin[begin < end], end[begin < end]
        while len(end):
            first = self._first(begin, end)
            # The upper half of a window that does not reach back to the beginning; the lower half is taught by others.
            taught = np.where(first == begin, begin, first + (end - first + 1) // 2)
            found.append(Spans(first, taught, end))
            begin, end = begin[taught > begin], taught[taught > begin]
        return Spans(*(np.concatenate([getattr(span, name) for span in found]) for name in ("first", "taught", "end")))

    @cached_property
    def lengths(self) -> Ints:
        """The padded row lengths, rising; fixed by the data alone, so that they do not change between epochs."""
        head = int(self._head_lengths.argmax())
        usual = padded_lengths(self._tokens(self.spans, np.full(len(self.spans), head)))
        # With one prefix per user a window may end at any item, and be longer than all of those above.
        begin, target = np.repeat(self._offsets[:-1], np.diff(self._offsets)), np.arange(len(self._starts) - 1)
        anywhere = Spans(self._first(begin, target + 1), target, target + 1)
        return np.union1d(usual, padded_lengths(self._tokens(anywhere, np.full(len(target), head)))[-1:])

    def epoch(
        self, *, seed: int, number: int, batch_size: int, prefixes: Literal["all", "one"] = "all"
    ) -> list[WindowRows]:
        """The batches of epoch `number`, in order: a function of `seed` and `number` alone; phrasings are drawn anew.

        `prefixes`: "all" teaches every item, "one" draws one target per user, as `Samples.epoch` does. Every batch but
        the last has `batch_size` rows.
        """
        random = np.random.default_rng([seed, number])
        spans = self.spans if prefixes == "all" else self._one_per_user(random)
        spans = spans[random.permutation(len(spans))]
        templates = random.integers(len(self._head_lengths), size=len(spans))
        groups = grouped(self._tokens(spans, templates), self.lengths, batch_size, random)
        return [WindowRows(spans[rows], templates[rows], length) for rows, length in groups]

    def collate(self, rows: WindowRows) -> Batch:
        """The tensors of one batch; labels[r, t] is what follows input_ids[r, t], where that is taught."""
        spans, heads = rows.spans, self._head_lengths[rows.templates]
        # One more than is read: the last token of a row is written, never read.
        tokens = np.full((len(rows), rows.length + 1), PAD, dtype=np.int64)
        row, column, token = slices(self._heads[1], self._heads[0][rows.templates], heads)
        tokens[row, column] = token
        begin = self._starts[spans.first]
        row, column, token = slices(self._stream, begin, self._starts[spans.end] - begin)
        tokens[row, heads[row] + column] = token
        place = np.arange(rows.length + 1)
        taught = place >= (heads + self._starts[spans.taught] - begin)[:, None]
        taught &= place < (heads + self._starts[spans.end] - begin)[:, None]
        mask = place[1:] < (heads + self._starts[spans.end] - begin)[:, None]
        labels = np.where(taught, tokens, IGNORED)[:, 1:]
        return Batch(
            torch.from_numpy(np.ascontiguousarray(tokens[:, :-1] * mask)),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(labels),
            int(taught.sum()),
            inline=True,
        )

    def _first(self, begin: Ints, end: Ints) -> Ints:
        """First item of the windows that end at `end`: the prompt of the last item is as `Pieces.build` cuts it."""
        by_tokens = np.searchsorted(self._starts, self._starts[end - 1] - self._room)
        return np.minimum(np.maximum.reduce([begin, end - 1 - self._max_history, by_tokens]), end - 1)

    def _tokens(self, spans: Spans, templates: Ints) -> Ints:
        """Tokens that are read of each window."""
        return self._head_lengths[templates] + self._starts[spans.end] - self._starts[spans.first] - 1

    def _one_per_user(self, random: np.random.Generator) -> Spans:
        """One target with at least one item before it, of each user who has one."""
        lengths = np.diff(self._offsets)
        begin = self._offsets[:-1][lengths > 1]
        target = begin + random.integers(1, lengths[lengths > 1])
        return Spans(self._first(begin, target + 1), target, target + 1)
