"""Generator phase: the recommender is frozen, and its loss on the target's ID teaches the generator to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.recommender.batches import MAX_TOKENS, Batch, Rows, batch_of
from components.recommender.model import Recommender
from components.textid.table import IdTable
from components.training.context import Context
from components.training.data import starts
from components.training.seeds import derive
from components.training.soft import splice, write_soft


class GeneratorPhase:
    """A phase for `loop.train`.

    The newest items of a history get soft IDs, older ones and the target keep the hard IDs of the round's table.
    Neither model uses dropout: the soft ID shall be the one that will be written, read as it will be read.
    """

    name = "generator"

    def __init__(
        self, context: Context, generator: Any, recommender: Recommender, table: IdTable, *, round: int
    ) -> None:
        self._settings = context.job.train.generator
        self.round, self.epochs, self.peak_lr = round, self._settings.epochs, self._settings.lr
        self._context, self._generator, self._recommender, self._table = context, generator, recommender, table
        self._samples, self._users = context.samples(table), context.user_ids(table)
        self._starts = starts(context.data.histories)
        recommender.module.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        return self._generator

    def close(self) -> None:
        """Let the recommender learn again."""
        self._recommender.module.requires_grad_(True)

    def batches(self, epoch: int) -> Sequence[Rows]:
        """One prefix of each user, drawn anew, as far as `samples` users go."""
        size, wanted = self._settings.batch_size, self._settings.samples
        seed = derive(self._context.job.seed, self.name, self.round)
        batches = self._samples.epoch(seed=seed, number=epoch, batch_size=size, prefixes="one")
        return batches[: -(-wanted // size)] if wanted else batches

    def loss(self, batch: Rows) -> tuple[Tensor, int]:
        ranks = self._context.ranks
        rows = batch.share(ranks.rank, ranks.size)
        if len(rows) == 0:
            return torch.zeros((), device=ranks.device), 0
        self._generator.eval()
        self._recommender.module.eval()
        with self._context.autocast():
            hard, embeddings = self.read_softly(rows)
            loss = self._recommender.loss(hard, inputs_embeds=embeddings)
        return loss.total, loss.count

    def read_softly(self, rows: Rows) -> tuple[Batch, Tensor]:
        """The batch, the chosen words of the newest items in its prompts, and its embeddings with soft IDs there."""
        values = self._context.data.histories.values
        longest, newest = self._context.job.train.max_history, self._settings.max_history
        histories = [values[max(self._starts[at], at - longest) : at] for at in rows.targets]
        items = np.unique(np.concatenate([history[-newest:] for history in histories]))
        number = {int(item): place for place, item in enumerate(items)}
        input_ids, mask = self._context.item_texts(items)
        soft = write_soft(
            self._generator,
            input_ids,
            mask,
            max_tokens=self._context.job.index.max_tokens,
            never=self._context.never,
        )
        if not self._settings.soft:
            soft = soft.straight_through()
        words, hard = soft.words(), self._table.token_ids
        chosen = [
            [number[int(item)] if len(history) - place <= newest else -1 for place, item in enumerate(history)]
            for history in histories
        ]
        prompts = [
            self._context.pieces.build(
                int(template),
                [words[at] if at >= 0 else hard[item] for item, at in zip(history, places, strict=True)],
                max_tokens=MAX_TOKENS,
                user=self._users.of(values[self._starts[at] : at].tolist()) if self._users else (),
            )
            for template, history, places, at in zip(rows.templates, histories, chosen, rows.targets, strict=True)
        ]
        targets = [hard[values[at]] for at in rows.targets]
        batch = batch_of(prompts, targets, end_token=self._context.end_token).to(self._context.ranks.device)
        return batch, self._recommender.embed(batch.input_ids, splice(prompts, chosen, soft))

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False
