"""Cold start: a generator from scratch learns to write an item's most distinctive words from the item's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.networks.families import seq2seq_model
from components.networks.views import at_ends
from components.recommender.batches.batch import IGNORED, Batch, labels_of
from components.recommender.loss.batch_loss import batch_loss
from components.textid.words.distinctive import cold_start_targets
from components.textid.writing.writer import first_length
from components.training.context import Context
from components.training.devices.forward import Compiled, autocast
from components.training.devices.micro_batch import MicroBatch
from components.training.steps.seeds import rng

WORDS = 5
"""Words of the first IDs, as far as `index.max_tokens` lets them."""
_MOST, _WIDTH, _FALL = 2e-3, 128, 1.5
"""Peak learning rate up to a width of `_WIDTH`; beyond, it falls with this power of the width."""


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
    """A phase for `loop.train_phase`: the generator learns to write `ids[i]` from the text of item i."""

    name = "cold_start"
    round = 1

    def __init__(self, context: Context, generator: Any, ids: Sequence[Sequence[int]]) -> None:
        train, settings = context.job.train, context.job.train.generator
        self._context, self._generator = context, seq2seq_model(generator, end_token=context.end_token)
        self.peak_lr = peak_lr(generator) if settings.cold_start_lr is None else settings.cold_start_lr
        self._batch = settings.batch_size * 2
        self.micro_batch = MicroBatch(settings.micro_batch * 2)
        self.compiled = Compiled(generator, train.compile, context.ranks.device)
        self._labels = labels_of(ids, context.end_token)
        self._with_words = np.array([number for number, tokens in enumerate(ids) if len(tokens)], dtype=np.int64)
        # An epoch is a pass over the catalogue, or as many batches of it as there are steps.
        self._steps = max(1, min(settings.cold_start_steps, ceil(len(self._with_words) / self._batch)))
        self.epochs = ceil(settings.cold_start_steps / self._steps)

    @property
    def module(self) -> nn.Module:
        return self._generator.module

    def batches(self, epoch: int) -> Sequence[Items]:
        """Items in a fresh order; those without words are left out."""
        order = rng(self._context.job.seed, self.name, epoch).permutation(self._with_words)[: self._steps * self._batch]
        return [Items(order[start : start + self._batch]) for start in range(0, len(order), self._batch)]

    def loss(self, rows: Items) -> tuple[Tensor, int]:
        self.module.train()
        context, device, labels = self._context, self._context.ranks.device, self._labels[rows.numbers]
        input_ids, mask = context.texts.tensors(rows.numbers, device)
        targets = torch.from_numpy(labels).to(device, non_blocking=True)
        batch = Batch(input_ids, mask, targets, int((labels != IGNORED).sum()))
        with autocast(context.job.train.precision, device):
            read = at_ends(self._generator, input_ids, mask, rows.numbers)
            loss = batch_loss(self._generator, batch, embeddings=read)
        return loss.total, loss.count

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False


def peak_lr(generator: Any) -> float:
    """Peak learning rate by the width of a generator: a wide one never learns to copy at a high rate.

    What was tried at which width: docs/log.md, "the rate of the cold start".
    """
    return _MOST * min(1.0, _WIDTH / float(generator.config.d_model)) ** _FALL


def first_ids(context: Context) -> list[tuple[int, ...]]:
    """Targets of the cold start by item number: the imported ID or, without a table, the most distinctive words.

    They are no longer than the writer's first proposals, which can then end as they were learned. () for an item
    without a word.
    """
    if context.imported is not None:
        return list(context.imported.token_ids)
    found: list[tuple[int, ...]] = []
    for shop in context.data.shops:  # what is rare in one catalogue may be everywhere in another
        texts = context.data.texts[shop.items] if len(context.data.shops) > 1 else context.data.texts
        tokens = first_length(context.job.index)
        found += cold_start_targets(context.tokenizer, texts, max_words=WORDS, max_tokens=tokens)
    return found
