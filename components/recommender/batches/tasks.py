"""Batches in blocks of one task each, for a training that learns to adapt (Reptile): some steps on one, then another.

    blocks = Blocks([epoch of task 0, epoch of task 1], inner=8, seed=17, number=0)
    len(blocks), blocks[5]                       # batch 5 of the epoch; 0 to 7 are of one task

An order that is drawn by `seed` and `number` alone: a resumed run goes on at any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, overload

import numpy as np

from components.recommender.batches.epochs import Epoch, R


class Blocks(Sequence[R], Generic[R]):
    """Every block has `inner` batches of one task; a task of fewer is gone through again within its block, and what
    does not fill a block waits for another epoch."""

    def __init__(self, tasks: Sequence[Epoch[R]], *, inner: int, seed: int, number: int) -> None:
        self._tasks, self._inner = [each for each in tasks if len(each)], inner
        counts = [max(1, len(each) // inner) for each in self._tasks]
        blocks = [(task, block) for task, count in enumerate(counts) for block in range(count)]
        order = np.random.default_rng([seed, number]).permutation(len(blocks))
        self._blocks = [blocks[at] for at in order]

    def __len__(self) -> int:
        return len(self._blocks) * self._inner

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        block, step = divmod(range(len(self))[index], self._inner)
        task, number = self._blocks[block]
        epoch = self._tasks[task]
        return epoch[(number * self._inner + step) % len(epoch)]

    @property
    def padding(self) -> float:
        """Share of padding among the prompt tokens, the mean over samples."""
        rows = [each.samples for each in self._tasks]
        return float(np.average([each.padding for each in self._tasks], weights=rows)) if rows else 0.0

    @property
    def label_room(self) -> int:
        """Padded label tokens of all tasks."""
        return sum(each.label_room for each in self._tasks)
