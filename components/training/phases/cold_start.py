"""Cold start of a generator from scratch: text -> its most distinctive words, so that the first IDs mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.recommender.batches.batch import IGNORED, Batch, labels_of
from components.recommender.models.interface import loss_of
from components.textid.words.distinctive import cold_start_targets
from components.textid.writing.writer import first_length
from components.training.context import Context
from components.training.devices.micro_batch import MicroBatch
from components.training.steps.seeds import rng

WORDS = 5
"""Words of the first IDs, as far as `index.max_tokens` lets them."""
_MOST, _WIDTH, _FALL = 2e-3, 128, 1.5
"""Largest learning rate; the width of a generator from which on it falls, and by what power of the width."""


@dataclass(frozen=True)
class Items:
    """The items of one batch."""

    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def share(self, rank: int, ranks: int) -> Items:
        """Every `ranks`-th item from `rank` on."""
        return Items(self.numbers[rank::ranks])


class ColdStart:
    """A phase for `loop.train`: the generator learns to write `ids[i]` from the text of item i."""

    name = "cold_start"
    round = 1

    def __init__(self, context: Context, generator: Any, ids: Sequence[Sequence[int]]) -> None:
        settings = context.job.train.generator
        self._context, self._generator = context, generator
        self.peak_lr = peak_lr(generator) if settings.cold_start_lr is None else settings.cold_start_lr
        self._batch = settings.batch_size * 2
        self.micro_batch, self.compiled = MicroBatch(settings.micro_batch * 2), context.compiled(generator)
        self._labels = labels_of(ids, context.end_token)
        self._taught = np.array([number for number, tokens in enumerate(ids) if len(tokens)], dtype=np.int64)
        # An epoch is a pass over the catalogue, or as many batches of it as there are steps.
        self._steps = max(1, min(settings.cold_start_steps, ceil(len(self._taught) / self._batch)))
        self.epochs = ceil(settings.cold_start_steps / self._steps)

    @property
    def module(self) -> nn.Module:
        return self._generator

    def batches(self, epoch: int) -> Sequence[Items]:
        """Items in a fresh order; those without words are left out."""
        order = rng(self._context.job.seed, self.name, epoch).permutation(self._taught)[: self._steps * self._batch]
        return [Items(order[start : start + self._batch]) for start in range(0, len(order), self._batch)]

    def loss(self, rows: Items) -> tuple[Tensor, int]:
        self._generator.train()
        items = rows.numbers
        input_ids, mask = self._context.item_texts(items)
        labels = self._labels[items]
        taught = torch.from_numpy(labels).to(input_ids.device, non_blocking=True)
        batch = Batch(input_ids, mask, taught, int((labels != IGNORED).sum()))
        start = self._generator.config.decoder_start_token_id
        with self._context.autocast():
            loss = loss_of(self._generator, batch, None, start=start, label_smoothing=0.0)
        return loss.total, loss.count

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False


def peak_lr(generator: Any) -> float:
    """Learning rate for a generator of this width: the wider, the gentler, or it never finds out how to copy.

    What was tried at which width: docs/log.md, "the rate of the cold start".
    """
    return _MOST * min(1.0, _WIDTH / float(generator.config.d_model)) ** _FALL


def first_ids(context: Context) -> list[tuple[int, ...]]:
    """What the cold start teaches, by item number: the imported ID or, without a table, its most distinctive words.

    They fit the writer's first proposals, so that it can end what it has been taught to begin. () for an item without
    a word.
    """
    if context.imported is not None:
        return list(context.imported.token_ids)
    return cold_start_targets(
        context.tokenizer, context.data.texts, max_words=WORDS, max_tokens=first_length(context.job.index)
    )
