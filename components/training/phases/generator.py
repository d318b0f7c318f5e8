"""Generator phase: the recommender is frozen, and its loss on the target's ID teaches the generator to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from components.recommender.batches.batch import MAX_TOKENS, Batch, batch_of
from components.recommender.batches.samples import Rows
from components.recommender.models.interface import Recommender
from components.textid.table.id_table import IdTable
from components.training.context import TEXT_WIDTH, Context
from components.training.devices.micro_batch import MicroBatch
from components.training.packed.dataset import Ints, starts
from components.training.phases.soft import SoftIds, splice, write_soft
from components.training.steps.seeds import derive


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
        self.micro_batch = MicroBatch(self._settings.micro_batch)
        # Not the generator: its decoding, step by step with a growing cache, would be compiled again and again.
        self.compiled = context.compiled(recommender.module)
        self.context, self._generator, self.recommender, self._table = context, generator, recommender, table
        self._samples, self._users = context.samples(table), context.user_ids(table)
        self._starts = starts(context.data.histories)
        # Of a model with adapters some weights never learn.
        self._frozen = [parameter for parameter in recommender.module.parameters() if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        return self._generator

    def close(self) -> None:
        """Let the recommender learn again."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)

    def batches(self, epoch: int) -> Sequence[Rows]:
        """One prefix of each user, drawn anew, as far as `samples` users go."""
        size, wanted = self._settings.batch_size, self._settings.samples
        seed = derive(self.context.job.seed, self.name, self.round)
        batches = self._samples.epoch(seed=seed, number=epoch, batch_size=size, prefixes="one")
        return batches[: -(-wanted // size)] if wanted else batches

    def loss(self, rows: Rows) -> tuple[Tensor, int]:
        self._generator.eval()
        self.recommender.module.eval()
        with self.context.autocast():
            hard, embeddings = self.read_softly(rows)
            loss = self.recommender.loss(hard, inputs_embeds=embeddings)
        return loss.total, loss.count

    def read_softly(self, rows: Rows) -> tuple[Batch, Tensor]:
        """The batch, the chosen words of the newest items in its prompts, and its embeddings with soft IDs there."""
        histories, newest = self.histories(rows), self._settings.max_history
        groups = by_length(np.unique(np.concatenate([history[-newest:] for history in histories])), self.context)
        items = np.concatenate(groups)
        soft = write_soft(
            self._generator,
            [self.context.item_texts(group) for group in groups],
            max_tokens=self.context.job.index.max_tokens,
            never=self.context.never,
        )
        if not self._settings.soft:
            soft = soft.straight_through()
        return self.spliced(rows, histories, soft, {int(item): place for place, item in enumerate(items)})

    def histories(self, rows: Rows) -> list[Ints]:
        """What the recommender reads before each target, as item numbers, oldest first."""
        values, longest = self.context.data.histories.values, self.context.job.train.max_history
        return [values[max(self._starts[at], at - longest) : at] for at in rows.targets]

    def spliced(
        self, rows: Rows, histories: Sequence[Ints], soft: SoftIds, number: dict[int, int]
    ) -> tuple[Batch, Tensor]:
        """Prompts with hard IDs and, for the newest items, `soft` ones; `number`: place in `soft` of an item."""
        values, newest = self.context.data.histories.values, self._settings.max_history
        words, hard = soft.words(), self._table.token_ids
        chosen = [
            [number[int(item)] if len(history) - place <= newest else -1 for place, item in enumerate(history)]
            for history in histories
        ]
        prompts = [
            self.context.pieces.build(
                int(template),
                [words[at] if at >= 0 else hard[item] for item, at in zip(history, places, strict=True)],
                max_tokens=MAX_TOKENS,
                user=self._users.of(values[self._starts[at] : at].tolist()) if self._users else (),
            )
            for template, history, places, at in zip(rows.templates, histories, chosen, rows.targets, strict=True)
        ]
        targets = values[rows.targets]
        batch = batch_of(prompts, [hard[item] for item in targets], end_token=self.context.end_token)
        if paths := self._samples.paths:
            batch = batch.over(paths.of_labels(targets, batch.labels.shape[1]))
        batch = batch.to(self.context.ranks.device)
        return batch, self.recommender.embed(batch.input_ids, splice(prompts, chosen, soft))

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False


def by_length(items: Ints, context: Context) -> list[Ints]:
    """Items in one group, or in two of shorter and longer texts where that saves a quarter of the padding and more.

    A group is filled up to a multiple of four with its last item once more, under the same ID: fewer shapes.
    """
    lengths = context.texts.offsets[items + 1] - context.texts.offsets[items]
    widths = -(-lengths // TEXT_WIDTH) * TEXT_WIDTH
    order = np.argsort(widths, kind="stable")
    items, widths = items[order], widths[order]
    cuts = np.arange(1, len(items))
    cost = np.concatenate(
        [widths[-1:] * len(items) * 3 / 4, widths[cuts - 1] * cuts + widths[-1] * (len(items) - cuts)]
    )
    groups = np.split(items, [int(cost.argmin())] if cost.argmin() else [])
    return [np.pad(group, (0, -len(group) % 4), mode="edge") for group in groups]
