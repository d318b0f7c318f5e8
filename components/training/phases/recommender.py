"""Recommender phase: sequence-to-sequence training on the hard IDs of one table; the training set of a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from components.networks.interface import LanguageModel
from components.recommender.batches.epochs import Epoch
from components.recommender.batches.samples import Samples
from components.recommender.batches.tasks import Blocks
from components.recommender.batches.training_set import TrainingSet
from components.recommender.batches.windows import Windows
from components.recommender.batches.wordings import Wordings
from components.recommender.item_views import placed
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.prompts.neighbours import NeighbourWords
from components.recommender.prompts.user_ids import UserIds
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from components.sampling import derive
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.textid.words.own import OwnWords
from components.textid.words.wordings import other_wordings
from components.training.context import Context
from components.training.devices.forward import Compiled, autocast
from components.training.devices.micro_batch import MicroBatch
from components.training.packed.taught import Known


class RecommenderPhase:
    """A phase for `loop.train_phase`; `after` validates and decides whether to stop early.

    known: what the recommender has learned of the histories before, if it goes on from a pair: then it learns the rest
    as `train.continual` says, held near to `before`, itself as it was.
    """

    def __init__(
        self,
        context: Context,
        recommender: LanguageModel,
        table: IdTable,
        *,
        round: int,
        after: Callable[[int, dict[str, Any]], bool],
        name: str = "recommender",
        epochs: int | None = None,
        histories: Ragged | None = None,
        known: Known | None = None,
        before: LanguageModel | None = None,
    ) -> None:
        settings, continual = context.job.train.recommender, context.job.train.continual
        self.name, self.round = name, round
        self.peak_lr = settings.lr * (1.0 if known is None else continual.rate)
        usual = settings.epochs if known is None else continual.epochs
        self.epochs = usual if epochs is None else epochs
        self._known, self._before, self._continual = known, before, continual
        self.micro_batch = MicroBatch(settings.micro_batch)
        self.compiled = Compiled(recommender.module, context.job.train.compile, context.ranks.device)
        self._settings, self._context, self._recommender, self._after = settings, context, recommender, after
        self._samples = training_set(context, table, histories, known)
        self._epoch: Epoch[Any] | Blocks[Any] | None = None
        self._tasks = context.tasks

    @property
    def module(self) -> nn.Module:
        return self._recommender.module

    def batches(self, epoch: int) -> Sequence[Any]:
        """Samples in a fresh order with freshly drawn prompts: all, or those that are new and some to replay."""
        seed = derive(self._context.job.seed, self.name, self.round)
        settings = self._settings
        sizes = {"batch_size": settings.batch_size, "batch_tokens": settings.batch_tokens}
        if self._tasks is not None:
            inner = self._context.job.train.meta.inner
            self._epoch = self._samples.in_tasks(self._tasks, inner=inner, seed=seed, number=epoch, **sizes)
        elif self._known is None:
            self._epoch = self._samples.epoch(seed=seed, number=epoch, prefixes=settings.prefixes, **sizes)
        else:
            self._epoch = self._samples.update(seed=seed, number=epoch, replay=self._continual.replay, **sizes)
        return self._epoch

    def loss(self, rows: Any) -> tuple[Tensor, int]:
        self.module.train()
        device = self._context.ranks.device
        batch = self._samples.collate(rows).to(device)
        with autocast(self._context.job.train.precision, device):
            loss = batch_loss(
                self._recommender,
                batch,
                embeddings=placed(self._recommender, batch.input_ids, batch.ends),
                label_smoothing=self._settings.label_smoothing,
                before=self._before,
                kl=self._continual.kl,
            )
        return loss.total, loss.count

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        if self._epoch is not None:
            row["padding_share"] = round(self._epoch.padding, 6)
            # Whole histories are their own labels, and over the trie choices are counted, not tokens.
            if (room := self._epoch.label_room) and self._settings.loss == "vocabulary":
                row["label_padding_share"] = round(1 - row["target_tokens"] / room, 6)
        return self._after(epoch, row)


def training_set(
    context: Context, table: IdTable, histories: Ragged | None = None, known: Known | None = None
) -> TrainingSet[Any]:
    """Samples of the training histories, or of others, under one ID table; `known`: what of them is old.

    Prefixes of histories for an encoder-decoder; whole histories for a decoder-only model, of which one forward
    supervises every item.
    """
    other = wordings(context, table)
    if context.job.train.family == "encoder-decoder":
        return samples(context, table, histories, known, other)
    histories = histories or context.data.histories
    return Windows(
        histories,
        table.token_ids,
        context.pieces,
        max_history=context.job.train.max_history,
        paths=_trie_paths(context, table),
        known=None if known is None else known.items,
        mixture=context.mixture(histories),
        teacher=context.teacher,
        weight=context.job.train.distil.weight,
        wordings=other,
        neighbours=neighbour_words(context, table),
    )


def samples(
    context: Context,
    table: IdTable,
    histories: Ragged | None = None,
    known: Known | None = None,
    other: Wordings | None = None,
) -> Samples:
    """Prefixes of the training histories, or of others; IDs in prompts and labels are those of `table`."""
    histories, users = histories or context.data.histories, user_ids(context, table)
    return Samples(
        histories,
        table.token_ids,
        context.pieces,
        end_token=context.end_token,
        max_history=context.job.train.max_history,
        users=None if users is None else users.before(histories),
        paths=_trie_paths(context, table),
        known=None if known is None else known.items,
        mixture=context.mixture(histories),
        teacher=context.teacher,
        weight=context.job.train.distil.weight,
        wordings=other,
        neighbours=neighbour_words(context, table),
    )


def wordings(context: Context, table: IdTable) -> Wordings | None:
    """Other wordings of the IDs of `table`, where `train.recommender.id_word_dropout` is on."""
    share = context.job.train.recommender.id_word_dropout
    if not share:
        return None
    own = OwnWords.of(table.item_ids, context.data.texts)
    seed = derive(context.job.seed, "other wordings", table.digest())
    others = other_wordings(list(table.words), Ragged.of(table.token_ids), own, context.tokenizer, seed=seed)
    return Wordings(others.tokens, others.offsets, share)


def user_ids(context: Context, table: IdTable) -> UserIds | None:
    """User IDs made of the words of `table`, where `train.user_id` is on."""
    return UserIds(table, context.tokenizer) if context.job.train.user_id else None


def neighbour_words(context: Context, table: IdTable) -> NeighbourWords | None:
    """What is read behind the items of `table`, where `train.neighbours` is on."""
    listed, chosen = context.neighbours, context.job.train.neighbours
    if listed is None:
        return None
    tokenizer, separator = context.tokenizer, context.pieces.separator
    return NeighbourWords.of(listed, table, tokenizer, separator, words=chosen.words, dropout=chosen.dropout)


def _trie_paths(context: Context, table: IdTable) -> Paths | None:
    """The trie nodes of each ID, where `train.recommender.loss` is taken over the trie."""
    if context.job.train.recommender.loss == "vocabulary":
        return None
    return Paths.of(Trie.build(table.token_ids, end_token=context.end_token))
