"""Soft targets: beside the item that was taken, what a teacher would have recommended there, as shares of the tokens
that the target's ID could go on with.

    teacher = Teacher.load(folder)                             # a list of items and shares for each place of a history
    soft = SoftTargets(teacher, separated_ids, weight=0.3)
    soft.of(events, targets, places)                           # of a batch, for `loss/soft_loss.py`

The target distribution over items is (1 - weight) on the item that was taken and `weight` times the teacher's shares.
At each node of the trie on the way to the item, the label is what that distribution says of the node's children; nodes
beside the way are not read (as word-level distillation: Kim and Rush, "Sequence-Level Knowledge Distillation", 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.errors import BadInput
from components.storage.ragged import Ints, Ragged, RaggedWriter, mapped

_NAMES: Mapping[str, type[np.generic]] = {"items": np.int32, "read": np.int32}
_SHARES = "shares"


@dataclass(frozen=True)
class Teacher:
    """What a teacher recommends at each place of the training histories, from what stands before it."""

    read: Ragged
    """[users] the histories, as item numbers."""
    items: Ragged
    """[places] the items that it recommends; none where it has nothing to say."""
    shares: NDArray[np.float32]
    """[items.values] of each; those of a place have the sum 1."""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in _NAMES:
            rows: Ragged = getattr(self, name)
            with RaggedWriter(folder, name, np.int32) as writer:
                writer.add(rows.lengths, rows.values)
        (folder / _SHARES).write_bytes(self.shares.astype("<f4").tobytes())

    @classmethod
    def load(cls, folder: Path) -> Self:
        parts = {name: Ragged.load(folder, name, kind) for name, kind in _NAMES.items()}
        return cls(**parts, shares=mapped(folder / _SHARES, np.float32))

    def over(self, histories: Ragged) -> Self:
        """The same for histories that were prolonged at their ends, or by users at the end: it says nothing there.

        Raises `BadInput` for other histories.
        """
        users = len(self.read)
        row, column, item = self.read.gather(np.arange(users))
        places = histories.offsets[:-1][row] + column if len(histories) >= users else np.zeros(0, np.int64)
        if not (
            len(places) == len(item)
            and bool((histories.lengths[:users] >= self.read.lengths).all())
            and np.array_equal(histories.values[places], item)
        ):
            mend = "remove the work folder of this training and run it again"
            raise BadInput("the teacher read other histories", where="train.distil", mend=mend)
        lengths = np.zeros(len(histories.values), np.int64)
        lengths[places] = self.items.lengths
        return type(self)(histories, Ragged.cut(self.items.values, lengths), self.shares)


@dataclass(frozen=True)
class Soft:
    """How a batch's labels differ from the target's own tokens: share times logit, summed, is added to the loss."""

    places: Tensor
    """[n] int64: places of labels, counted row by row."""
    tokens: Tensor
    """[n] int64."""
    shares: Tensor
    """[n] float32: above 0 what the target's token loses, below 0 what another one gets."""

    def to(self, device: torch.device | str) -> Soft:
        return Soft(*(each.to(device, non_blocking=True) for each in (self.places, self.tokens, self.shares)))


class SoftTargets:
    """`written`: the tokens of each item's ID with what ends it, by item number."""

    def __init__(self, teacher: Teacher, written: Ragged, *, weight: float) -> None:
        self._teacher, self._written, self._weight = teacher, written, weight

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """[items, tokens of the longest] the same as a table, -1 behind the end."""
        lengths = self._written.lengths
        table = np.full((len(lengths), int(lengths.max(initial=1))), -1, np.int64)
        row, column, token = self._written.gather(np.arange(len(lengths)))
        table[row, column] = token
        return table

    def of(self, events: Ints, targets: NDArray[np.integer], places: Ints) -> Soft:
        """events [n]: places of targets in the histories; targets [n]: their items; places [n]: that of the label of
        the first token of each, whose others follow it."""
        event, column, item = self._teacher.items.gather(events)
        share = self._teacher.shares[self._teacher.items.offsets[:-1][events][event] + column].astype(np.float64)
        table = self._table
        theirs, own = table[item], table[targets]
        # Where a teacher's item is on the target's way, its next token has a part in the label.
        same = theirs == own[event]
        on_way = np.concatenate([np.ones((len(item), 1), bool), np.cumprod(same, axis=1)[:, :-1].astype(bool)], axis=1)
        listed, depth = np.nonzero(on_way & (theirs >= 0) & (own[event] >= 0))
        label = event[listed] * table.shape[1] + depth
        mass = np.bincount(label, share[listed], minlength=len(events) * table.shape[1])
        whole = 1.0 - self._weight + self._weight * mass
        said = np.flatnonzero(mass > 0)
        at = np.concatenate([said, label])
        tokens = np.concatenate([own.ravel()[said], theirs[listed, depth]])
        shares = np.concatenate([mass[said], -share[listed]]) * self._weight / whole[at]
        where = places[at // table.shape[1]] + at % table.shape[1]
        return Soft(torch.from_numpy(where), torch.from_numpy(tokens), torch.from_numpy(shares.astype(np.float32)))
