"""Samples and batches for training: packed arrays in, tensors of a few fixed shapes out.

    samples = Samples(offsets, items, token_ids, pieces, max_history=20)
    for rows in samples.epoch(seed=17, number=0, batch_size=64):
        batch = samples.collate(rows)

Histories lie end to end in one array, and a sample is the place of its target in it; everything before it in the same
history is the prompt. The tokens of all histories lie end to end too, separators included, so that the prompt of a
sample is a slice: head + stream[start:end] + tail. `prompts.Pieces.build` is the slow, obvious way to the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.recommender.prompts import Pieces, Prompt

Ints = NDArray[np.int64]

IGNORED = -100
"""Padding of labels: no loss there."""
PAD = 0
"""Padding of prompts; the attention mask hides it, so any token would do."""
MAX_TOKENS = 512
"""Longest prompt (tokens): what T5 was trained with."""
_BUCKETS = 12
"""Most padded prompt lengths. torch on CPU slows down with ever-changing shapes; with 12, 10 % of Beauty is padding."""
_MULTIPLE = 8
"""Padded lengths are multiples of this."""


@dataclass(frozen=True)
class Batch:
    """Prompts and what is to be written after each."""

    input_ids: Tensor
    """[rows, S] int64."""
    attention_mask: Tensor
    """[rows, S] int64, 1 at tokens."""
    labels: Tensor
    """[rows, T] int64: the target's ID and the end token; IGNORED at padding."""
    target_tokens: int
    """Labels that count, known without asking the device."""

    def to(self, device: torch.device | str) -> Batch:
        prompt, mask, labels = (
            part.to(device, non_blocking=True) for part in (self.input_ids, self.attention_mask, self.labels)
        )
        return Batch(prompt, mask, labels, self.target_tokens)


@dataclass(frozen=True)
class Rows:
    """The samples of one batch: which they are, and the shape they are padded to."""

    targets: Ints
    """[rows]: place of each sample's target in the histories."""
    templates: Ints
    """[rows]: the phrasing drawn for it."""
    length: int
    """Padded prompt length."""

    def share(self, rank: int, ranks: int) -> Rows:
        """Every `ranks`-th row from `rank` on: the shares of all ranks are the whole batch. It may be empty."""
        return Rows(self.targets[rank::ranks], self.templates[rank::ranks], self.length)


def pack(sequences: Sequence[Sequence[int]]) -> tuple[Ints, NDArray[np.int32]]:
    """Sequences end to end: sequence i is values[offsets[i]:offsets[i + 1]]. Returns offsets [n + 1], values."""
    offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, sequences), np.int64, len(sequences)), out=offsets[1:])
    flat = (token for sequence in sequences for token in sequence)
    return offsets, np.fromiter(flat, np.int32, int(offsets[-1]))


def slices(values: NDArray[np.int32], starts: Ints, lengths: Ints) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """The slices values[starts[i]:starts[i] + lengths[i]], end to end: (row of each value, place in its row, value)."""
    rows = np.repeat(np.arange(len(starts)), lengths)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, columns, values[starts[rows] + columns]


class Samples:
    """All samples of a set of histories under one ID table; made anew in every round, as the table changes.

    `offsets` [users + 1] and `items` [interactions]: history u is items[offsets[u]:offsets[u + 1]], oldest first, as
    item numbers. `token_ids`: the ID of each item number, without the end token. `users`: token ids of the user ID
    that stands in the prompt of each target, by its place in `items` (`UserIds.before`), if user IDs are wanted.
    """

    def __init__(
        self,
        offsets: Ints,
        items: Ints,
        token_ids: Sequence[Sequence[int]],
        pieces: Pieces,
        *,
        end_token: int,
        max_history: int,
        max_tokens: int = MAX_TOKENS,
        users: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._pieces = pieces
        self._end = end_token
        self._max_history = max_history
        self._max_tokens = max_tokens
        self._offsets = np.asarray(offsets, dtype=np.int64)
        self._items = np.asarray(items, dtype=np.int64)
        self._id_offsets, self._id_values = pack(token_ids)
        separated = pack([(*item, *pieces.separator) for item in token_ids])
        lengths = np.diff(separated[0])[self._items]
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self._stream = slices(separated[1], separated[0][self._items], lengths)[2]
        self._user_offsets, self._user_values = pack(
            [(*user, *pieces.separator) if len(user) else () for user in users]
            if users is not None
            else [()] * len(self._items)
        )
        self._heads, self._tails = pack(pieces.heads), pack(pieces.tails)

    @cached_property
    def targets(self) -> Ints:
        """Places of all targets that have at least one item before them."""
        begins = np.zeros(len(self._items) + 1, dtype=bool)
        begins[self._offsets[:-1]] = True
        return np.flatnonzero(~begins[:-1])

    @cached_property
    def label_length(self) -> int:
        """Padded length of the labels: the longest ID and the end token."""
        return int(np.diff(self._id_offsets).max(initial=0)) + 1

    @cached_property
    def lengths(self) -> Ints:
        """The padded prompt lengths, rising; fixed by the data alone, so that they do not change between epochs."""
        frame = np.diff(self._heads[0]) + np.diff(self._tails[0])
        longest = np.full(len(self.targets), int(frame.argmax()), dtype=np.int64)
        found = self._plan(self.targets, longest)[2]
        if len(found) == 0:
            return np.array([_MULTIPLE], dtype=np.int64)
        # Equal shares of all tokens, not of all samples: the long tail is where padding is expensive.
        ordered = np.sort(found)
        tokens = np.cumsum(ordered)
        edges = ordered[np.searchsorted(tokens, tokens[-1] * np.arange(1, _BUCKETS + 1) / _BUCKETS)]
        return np.unique(-(-edges // _MULTIPLE) * _MULTIPLE)

    def epoch(self, *, seed: int, number: int, batch_size: int, prefixes: Literal["all", "one"] = "all") -> list[Rows]:
        """The batches of epoch `number`, in order: a function of `seed` and `number` alone.

        `prefixes`: "all" takes every target with a history, "one" draws one per user. Phrasings are drawn anew. Every
        batch but the last has `batch_size` rows: what is left of a length joins the next longer one.
        """
        random = np.random.default_rng([seed, number])
        targets = self.targets if prefixes == "all" else self._one_per_user(random)
        targets = random.permutation(targets)
        templates = random.integers(len(self._pieces), size=len(targets))
        bucket = np.searchsorted(self.lengths, self._plan(targets, templates)[2])
        order = np.argsort(bucket, kind="stable")
        batches = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batches.append(Rows(targets[rows], templates[rows], int(self.lengths[bucket[rows[-1]]])))
        return [batches[index] for index in random.permutation(len(batches))]

    def collate(self, rows: Rows) -> Batch:
        """The tensors of one batch."""
        begin, count, total = self._plan(rows.targets, rows.templates)
        input_ids = np.full((len(rows.targets), rows.length), PAD, dtype=np.int64)
        at = np.zeros(len(rows.targets), dtype=np.int64)
        for values, starts, lengths in (
            (self._user_values, self._user_offsets[rows.targets], np.diff(self._user_offsets)[rows.targets]),
            (self._heads[1], self._heads[0][rows.templates], np.diff(self._heads[0])[rows.templates]),
            (self._stream, begin, count),
            (self._tails[1], self._tails[0][rows.templates], np.diff(self._tails[0])[rows.templates]),
        ):
            row, column, token = slices(values, starts, lengths)
            input_ids[row, at[row] + column] = token
            at += lengths
        mask = np.arange(rows.length) < total[:, None]
        labels = self._labels(self._items[rows.targets])
        return Batch(
            torch.from_numpy(input_ids),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(labels),
            int((labels != IGNORED).sum()),
        )

    def _one_per_user(self, random: np.random.Generator) -> Ints:
        lengths = np.diff(self._offsets)
        users = np.flatnonzero(lengths > 1)
        return self._offsets[users] + random.integers(1, lengths[users])

    def _plan(self, targets: Ints, templates: Ints) -> tuple[Ints, Ints, Ints]:
        """Of each sample: start and length of its history in the stream, length of the whole prompt."""
        user = np.searchsorted(self._offsets, targets, side="right") - 1
        frame = (np.diff(self._heads[0]) + np.diff(self._tails[0]))[templates] + np.diff(self._user_offsets)[targets]
        # The stream has a separator after every item; the last one of a prompt is left out.
        end = self._starts[targets] - len(self._pieces.separator)
        first = np.maximum(self._offsets[user], targets - self._max_history)
        first = np.maximum(first, np.searchsorted(self._starts, end - (self._max_tokens - frame)))
        count = np.where(first < targets, end - self._starts[np.minimum(first, targets)], 0)
        return self._starts[np.minimum(first, targets)], count, frame + count

    def _labels(self, items: Ints) -> Ints:
        lengths = np.diff(self._id_offsets)[items]
        labels = np.full((len(items), self.label_length), IGNORED, dtype=np.int64)
        row, column, token = slices(self._id_values, self._id_offsets[items], lengths)
        labels[row, column] = token
        labels[np.arange(len(items)), lengths] = self._end
        return labels


def pad_prompts(prompts: Sequence[Prompt], *, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Prompts -> (input_ids, attention_mask), both [n, S] int64; S = `length` or the longest, rounded up."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    width = length or -(-longest // _MULTIPLE) * _MULTIPLE
    offsets, values = pack([prompt.token_ids for prompt in prompts])
    input_ids = np.full((len(prompts), width), PAD, dtype=np.int64)
    mask = np.zeros((len(prompts), width), dtype=np.int64)
    row, column, token = slices(values, offsets[:-1], np.diff(offsets))
    input_ids[row, column] = token
    mask[row, column] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(mask)


def batch_of(prompts: Sequence[Prompt], targets: Sequence[Sequence[int]], *, end_token: int) -> Batch:
    """A batch from prompts that were built one by one, and the ID of each target without its end token."""
    input_ids, mask = pad_prompts(prompts)
    labels = np.full((len(targets), max(map(len, targets)) + 1), IGNORED, dtype=np.int64)
    for row, target in enumerate(targets):
        labels[row, : len(target) + 1] = [*target, end_token]
    return Batch(input_ids, mask, torch.from_numpy(labels), int((labels != IGNORED).sum()))
