"""Recommender phase: plain training on the hard IDs of one table, of prefixes or of whole histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from components.recommender.batches.epochs import Epoch
from components.recommender.models.interface import Recommender
from components.textid.table.id_table import IdTable
from components.training.context import Context
from components.training.devices.micro_batch import MicroBatch
from components.training.packed.rows import Ragged
from components.training.steps.seeds import derive


class RecommenderPhase:
    """A phase for `loop.train`; `after` validates and decides whether to stop early."""

    def __init__(
        self,
        context: Context,
        recommender: Recommender,
        table: IdTable,
        *,
        round: int,
        after: Callable[[int, dict[str, Any]], bool],
        name: str = "recommender",
        epochs: int | None = None,
        histories: Ragged | None = None,
    ) -> None:
        settings = context.job.train.recommender
        self.name, self.round, self.peak_lr = name, round, settings.lr
        self.epochs = settings.epochs if epochs is None else epochs
        self.micro_batch, self.compiled = MicroBatch(settings.micro_batch), context.compiled(recommender.module)
        self._settings, self._context, self._recommender, self._after = settings, context, recommender, after
        self._samples = context.lessons(table, histories)
        self._epoch: Epoch[Any] | None = None

    @property
    def module(self) -> nn.Module:
        return self._recommender.module

    def batches(self, epoch: int) -> Sequence[Any]:
        """Samples in a fresh order with freshly drawn prompts."""
        seed = derive(self._context.job.seed, self.name, self.round)
        settings = self._settings
        sizes = {"batch_size": settings.batch_size, "batch_tokens": settings.batch_tokens}
        self._epoch = self._samples.epoch(seed=seed, number=epoch, prefixes=settings.prefixes, **sizes)
        return self._epoch

    def loss(self, rows: Any) -> tuple[Tensor, int]:
        self.module.train()
        batch = self._samples.collate(rows).to(self._context.ranks.device)
        with self._context.autocast():
            loss = self._recommender.loss(batch, label_smoothing=self._settings.label_smoothing)
        return loss.total, loss.count

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        if self._epoch is not None:
            row["padding_share"] = round(self._epoch.padding, 6)
            # Whole histories are their own labels, and over the trie choices are counted, not tokens.
            if (room := self._epoch.label_room) and self._settings.loss == "vocabulary":
                row["label_padding_share"] = round(1 - row["target_tokens"] / room, 6)
        return self._after(epoch, row)
