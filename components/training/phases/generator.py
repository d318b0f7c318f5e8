"""Generator phase: the loss of the frozen recommender on the target's ID trains the generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from components.networks.families import seq2seq_model
from components.networks.interface import LanguageModel
from components.networks.views import at_ends
from components.recommender.batches.batch import MAX_TOKENS, Batch, batch_of
from components.recommender.batches.samples import Rows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.neighbours import rows_of
from components.sampling import derive
from components.storage.ragged import Ints
from components.textid.table.id_table import IdTable
from components.textid.words.own import OwnWords
from components.textid.words.twins import near_twins
from components.textid.writing.candidates import allowed_tokens
from components.textid.writing.legal import LegalWords, Lexicon
from components.training.context import Context
from components.training.devices.forward import Compiled, autocast
from components.training.devices.micro_batch import MicroBatch
from components.training.phases.recommender import neighbour_words, samples, user_ids
from components.training.phases.soft import SoftIds, splice, write_soft


class GeneratorPhase:
    """A phase for `loop.train_phase`.

    The newest items of a history get soft IDs, older ones and the target keep the hard IDs of the round's table.
    Neither model uses dropout: the soft ID is then the ID that will be written, read as it will be read.
    """

    name = "generator"

    def __init__(
        self, context: Context, generator: Any, recommender: LanguageModel, table: IdTable, *, round: int
    ) -> None:
        self._settings = context.job.train.generator
        self.round, self.epochs, self.peak_lr = round, self._settings.epochs, self._settings.lr
        self.micro_batch = MicroBatch(self._settings.micro_batch)
        # Not the generator: its decoding, step by step with a growing cache, would be compiled again and again.
        self.compiled = Compiled(recommender.module, context.job.train.compile, context.ranks.device)
        self._generator = seq2seq_model(generator, end_token=context.end_token)
        self.context, self.recommender, self._table = context, recommender, table
        self._samples, self._users = samples(context, table), user_ids(context, table)
        self._neighbours = neighbour_words(context, table)
        self.never = outside_ids(context.tokenizer)
        self._lexicon = _lexicon(context) if context.job.index.faithful else None
        # Of a model with adapters some weights never learn.
        self._frozen = [parameter for parameter in recommender.module.parameters() if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        return self._generator.module

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
        self.module.eval()
        self.recommender.module.eval()
        with autocast(self.context.job.train.precision, self.context.ranks.device):
            hard, embeddings = self.read_softly(rows)
            loss = batch_loss(self.recommender, hard, embeddings=embeddings)
        return loss.total, loss.count

    def read_softly(self, rows: Rows) -> tuple[Batch, Tensor]:
        """The batch, the chosen words of the newest items in its prompts, and its embeddings with soft IDs there."""
        texts, device = self.context.texts, self.context.ranks.device
        histories, newest = self.histories(rows), self._settings.max_history
        groups = texts.by_length(np.unique(np.concatenate([history[-newest:] for history in histories])))
        items = np.concatenate(groups)
        soft = write_soft(
            self._generator,
            [self._read(group, *texts.tensors(group, device)) for group in groups],
            max_tokens=self.context.job.index.max_tokens,
            never=self.never,
            legal=self.legal(items),
        )
        if not self._settings.soft:
            soft = soft.straight_through()
        return self.spliced(rows, histories, soft, {int(item): place for place, item in enumerate(items)})

    def _read(self, items: NDArray[np.integer], input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the generator reads of items: token ids, or embeddings with their views; and the mask."""
        read = at_ends(self._generator, input_ids, mask, items)
        return input_ids if read is None else read, mask

    def legal(self, items: NDArray[np.integer]) -> LegalWords | None:
        """The words that may be said of items, by number; None where any may."""
        longest = self.context.job.index.max_tokens
        return None if self._lexicon is None else self._lexicon.legal(items.tolist(), max_tokens=longest)

    def histories(self, rows: Rows) -> list[Ints]:
        """The items that the recommender reads before each target, as numbers, oldest first."""
        values, longest = self.context.data.histories.values, self.context.job.train.max_history
        starts = self.context.data.histories.starts_of(rows.targets)
        return [values[max(start, at - longest) : at] for start, at in zip(starts, rows.targets, strict=True)]

    def spliced(
        self, rows: Rows, histories: Sequence[Ints], soft: SoftIds, number: dict[int, int]
    ) -> tuple[Batch, Tensor]:
        """Prompts with hard IDs and, for the newest items, `soft` ones; `number`: place in `soft` of an item."""
        values, newest = self.context.data.histories.values, self._settings.max_history
        starts = self.context.data.histories.starts_of(rows.targets)
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
                user=self._users.of(values[start:at].tolist()) if self._users else (),
                behind=behind,
            )
            for template, history, places, behind, start, at in zip(
                rows.templates, histories, chosen, self._behind(rows, histories), starts, rows.targets, strict=True
            )
        ]
        targets = values[rows.targets]
        batch = batch_of(prompts, [hard[item] for item in targets], end_token=self.context.end_token)
        if paths := self._samples.paths:
            batch = batch.over(paths.of_labels(targets, batch.labels.shape[1]))
        batch = batch.to(self.context.ranks.device)
        return batch, splice(self.recommender, batch.input_ids, prompts, chosen, soft)

    def _behind(self, rows: Rows, histories: Sequence[Ints]) -> list[list[list[int]] | None]:
        """What is read behind the items of each history: their neighbours by the hard IDs."""
        words = self._neighbours
        if words is None:
            return [None] * len(histories)
        kinds = words.kinds(np.searchsorted(self.context.data.histories.offsets, rows.targets, side="right") - 1)
        return [rows_of(words.tokens, kind + history) for kind, history in zip(kinds, histories, strict=True)]

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False


def _lexicon(context: Context) -> Lexicon:
    """The words of all items."""
    texts, longest = context.data.texts, context.job.index.max_tokens
    own = OwnWords.of(context.data.item_ids, texts)
    return Lexicon(context.tokenizer, own, near_twins(own), texts, range(len(texts)), max_tokens=longest)


def outside_ids(tokenizer: Any) -> tuple[int, ...]:
    """Tokens that stand in no ID: punctuation, bytes, and special tokens but the end."""
    outside = (~allowed_tokens(tokenizer)).nonzero()[:, 0].tolist()
    return tuple(token for token in outside if token != tokenizer.eos_token_id)
