"""The batches of an epoch: all samples once, in random order, bucketed by length; planned a portion at a time, so that
memory does not grow with the number of samples.

    epoch = Epoch(count, draw, padded, seed=17, number=0, batch_size=64)           # or batch_tokens=8192
    len(epoch), epoch[5], epoch.padding

A portion of the shuffled order is drawn, sorted into the padded lengths and cut into batches. Everything random in it
comes from (seed, epoch, portion): a resumed run goes on at any batch, and all ranks see the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, Self, TypeVar, overload

import numpy as np

from components.networks.rounding import round_up
from components.recommender.batches.shuffle import Shuffle
from components.storage.ragged import Ints

PORTION = 65_536
"""Samples that are planned at a time: a few megabytes, and a thousand batches to choose a random one from."""
SHAPES = 16
"""Most padded lengths: torch on a CPU slows down with ever-changing shapes, and a compiled model compiles each. On
Amazon Beauty 7 % of the prompt tokens are padding with 16, 9 % with 12."""
MULTIPLE = 4
"""Padded lengths are multiples of this: prompts of 36 tokens, the mean of one prefix a user, would have 2 % more
padding with multiples of 8."""


@dataclass(frozen=True)
class Drawn:
    """Samples of a portion or a batch, and what was drawn for them. A kind of sample adds arrays that say which."""

    templates: Ints
    """[rows]: the phrasing drawn for each."""
    length: int
    """What the prompts of a batch are padded to."""

    def __len__(self) -> int:
        return len(self.templates)

    @property
    def label_tokens(self) -> Ints:
        """[rows]: tokens that the label of each is padded to; 0 where it stands in the prompt."""
        return np.zeros(len(self), dtype=np.int64)

    def take(self, rows: Ints | slice, length: int) -> Self:
        """Those at `rows`, to be padded to `length`."""
        arrays = {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name != "length"}
        return replace(self, length=length, **{name: array[rows] for name, array in arrays.items()})

    def share(self, rank: int, ranks: int) -> Self:
        """Every `ranks`-th row from `rank` on: the shares of all ranks are the whole batch. It may be empty."""
        return self.take(slice(rank, None, ranks), self.length)


R = TypeVar("R", bound=Drawn)
Draw = Callable[[Ints, np.random.Generator], tuple[R, Ints]]
"""Sample numbers, rising, and a generator -> the samples with what is random in them, and their lengths in tokens."""


class Epoch(Sequence[R], Generic[R]):
    """The batches of one epoch, in order; equal arguments give equal batches.

    Every batch but the last of a portion is full: what is left of a length joins the next longer one. A batch has
    `batch_size` rows or, with `batch_tokens`, as many as that budget of padded tokens allows (at least one).
    """

    def __init__(
        self, count: int, draw: Draw[R], padded: Ints, *, seed: int, number: int, batch_size: int, batch_tokens: int = 0
    ) -> None:
        self.samples = count
        self._draw, self._padded, self._seed = draw, padded, [seed, number]
        self._order = Shuffle(count, seed, number)
        self._sizes = np.maximum(1, batch_tokens // padded) if batch_tokens else np.full(len(padded), batch_size)
        # Whole batches of rows in every portion, so that only the last batch of the epoch is not full.
        self._portion = PORTION if batch_tokens else max(1, PORTION // batch_size) * batch_size
        portions = -(-count // self._portion)
        self._tokens, self._room, self._label_room = (np.zeros(portions, np.int64) for _ in range(3))
        self._held: tuple[int, R, list[tuple[Ints, int]]] | None = None
        if batch_tokens:
            # How many batches a budget gives is known when all portions are planned: half a second per million samples.
            batches = [len(self._plan(portion)[1]) for portion in range(portions)]
        else:
            rows = np.minimum(count - self._portion * np.arange(portions), self._portion)
            batches = (-(-rows // batch_size)).tolist()
        self._ends = np.cumsum(batches, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        portion = int(np.searchsorted(self._ends, at, side="right"))
        whole, batches = self._plan(portion)
        rows, length = batches[at - int(self._ends[portion])]  # counted from the portion's end
        return whole.take(rows, length)

    @property
    def padding(self) -> float:
        """Share of padding among the prompt tokens of the whole epoch, 0 to 1; plans the portions not yet seen."""
        self._plan_all()
        return 1.0 - float(self._tokens.sum()) / max(1, int(self._room.sum()))

    @property
    def label_room(self) -> int:
        """Padded label tokens of the whole epoch; 0 where labels stand in the prompts."""
        self._plan_all()
        return int(self._label_room.sum())

    def _plan_all(self) -> None:
        for portion in np.flatnonzero(self._room == 0):
            self._plan(int(portion))

    def _plan(self, portion: int) -> tuple[R, list[tuple[Ints, int]]]:
        """Samples of a portion and its batches: rows among them and the length they are padded to."""
        if self._held is None or self._held[0] != portion:
            random = np.random.default_rng([*self._seed, portion])
            start = portion * self._portion
            # Rising, so that the histories are read from one end to the other; the order is drawn again in `grouped`.
            whole, lengths = self._draw(np.sort(self._order.take(start, start + self._portion)), random)
            labels = whole.label_tokens
            batches = grouped(lengths, self._padded, self._sizes, random, alike=labels)
            self._tokens[portion] = lengths.sum()
            self._room[portion] = sum(len(rows) * length for rows, length in batches)
            self._label_room[portion] = sum(len(rows) * int(labels[rows].max()) for rows, _ in batches)
            self._held = (portion, whole, batches)
        return self._held[1], self._held[2]


def grouped(
    lengths: Ints, padded: Ints, sizes: Ints, random: np.random.Generator, *, alike: Ints
) -> list[tuple[Ints, int]]:
    """Rows of `lengths` tokens in batches of like length, in random order: (rows, padded length) each.

    A batch that is padded to `padded[k]` has `sizes[k]` rows; what is left of a length joins the next longer one, if it
    fits into one batch there. Among rows of like length those that are `alike` [rows] go together.
    """
    order = random.permutation(len(lengths))
    bucket = np.searchsorted(padded, lengths[order])
    batches: list[tuple[Ints, int]] = []
    left, length = order[:0], 0
    for place in np.unique(bucket):
        size = int(sizes[place])
        if len(left) >= size:  # as much as a batch of the longer rows: better on its own than padded to them
            batches.append((left, length))
            left = left[:0]
        left, length = np.concatenate([left, order[bucket == place]]), int(padded[place])
        left = left[np.argsort(alike[left], kind="stable")]
        full = len(left) // size * size
        batches += [(left[start : start + size], length) for start in range(0, full, size)]
        left = left[full:]
    if len(left):
        batches.append((left, length))
    return [batches[index] for index in random.permutation(len(batches))]


def padded_lengths(lengths: Ints, longest: int = 0, *, shapes: int = SHAPES, multiple: int = MULTIPLE) -> Ints:
    """The at most `shapes` lengths, rising, that pad rows of `lengths` tokens with the fewest tokens in all.

    By dynamic programming over the multiples of `multiple`. One more follows where a row may have `longest` tokens and
    none of them does.
    """
    ceiling = round_up(max(longest, 1), multiple)
    if len(lengths) == 0:
        return np.array([ceiling], dtype=np.int64)
    edges, counts = np.unique(-(-lengths // multiple) * multiple, return_counts=True)
    rows = np.concatenate([[0], np.cumsum(counts)])
    # cost[i, j]: tokens when the rows of the edges i to j are padded to edge j.
    cost = (rows[None, 1:] - rows[:-1, None]) * edges.astype(np.float64)
    cost[np.tril_indices(len(edges), -1)] = np.inf
    best, last = cost[0], list[Ints]()
    for _ in range(min(shapes, len(edges)) - 1):
        # One shape more: the rows before edge i as before, those from i on padded to j.
        total = np.concatenate([[0.0], best[:-1]])[:, None] + cost
        best, last = total.min(axis=0), [*last, total.argmin(axis=0)]
    chosen, at = [], len(edges) - 1
    for starts in reversed(last):
        chosen.append(at)
        at = int(starts[at]) - 1
        if at < 0:
            break
    else:
        chosen.append(at)
    found = np.asarray(edges[chosen[::-1]], dtype=np.int64)
    return found if found[-1] >= ceiling else np.append(found, ceiling)
