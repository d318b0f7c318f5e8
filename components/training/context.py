"""What every phase of a training reads and none changes: data, tokenizer, prompts, tokenised texts, device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from components.recommender.batches import Batch, Prefixes, Samples
from components.recommender.epochs import Epoch
from components.recommender.families import prompts_of
from components.recommender.prompts import Pieces, Prompts
from components.recommender.user_ids import UserIds
from components.recommender.windows import Windows
from components.textid.imported import adopt, read_imported
from components.textid.table import IdTable
from components.textid.tokenizer import encode_texts, pad_id
from components.training.data import Dataset, Ragged
from components.training.job import Job
from components.training.ranks import Ranks


class Lessons(Protocol):
    """What the recommender phase learns from: one row a prefix (`Samples`) or one row a history (`Windows`)."""

    def epoch(
        self, *, seed: int, number: int, batch_size: int, prefixes: Prefixes, batch_tokens: int = 0
    ) -> Epoch[Any]:
        """The batches of an epoch, each with a length and a `share`."""
        ...

    def collate(self, rows: Any) -> Batch:
        """The tensors of one of them."""
        ...


@dataclass(frozen=True)
class Context:
    """Built once at the start."""

    job: Job
    data: Dataset
    tokenizer: Any
    prompts: Prompts
    pieces: Pieces
    texts: NDArray[np.int64]
    """[items, S] tokens of the item texts, end token included, padded; S is the longest that occurs."""
    text_lengths: NDArray[np.int64]
    ranks: Ranks
    imported: IdTable | None
    """Table of `train.imported_ids`, made to keep the contract: the IDs of round 1, and what the cold start teaches."""

    @classmethod
    def build(cls, job: Job, data: Dataset, tokenizer: Any, ranks: Ranks) -> Context:
        rows = encode_texts(tokenizer, data.texts, max_tokens=job.train.max_item_tokens)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        texts = np.full((len(rows), int(lengths.max())), pad_id(tokenizer), dtype=np.int64)
        for number, row in enumerate(rows):
            texts[number, : len(row)] = row
        prompts = prompts_of(job.train.family)
        pieces = prompts.tokenise(tokenizer)
        return cls(job, data, tokenizer, prompts, pieces, texts, lengths, ranks, imported_table(job, data, tokenizer))

    @property
    def end_token(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def never(self) -> tuple[int, ...]:
        """Tokens that stand in no ID: padding and the unknown one, where they are not the end token itself."""
        tokens = (self.tokenizer.pad_token_id, self.tokenizer.unk_token_id)
        return tuple(token for token in tokens if token not in (None, self.end_token))

    def samples(self, table: IdTable, histories: Ragged | None = None) -> Samples:
        """Samples of the training histories, or of others, under one table: prompts and targets alike."""
        histories = histories or self.data.histories
        users = self.user_ids(table)
        return Samples(
            histories.offsets,
            histories.values,
            table.token_ids,
            self.pieces,
            end_token=self.end_token,
            max_history=self.job.train.max_history,
            users=None if users is None else users.before(histories.offsets.tolist(), histories.values.tolist()),
        )

    def user_ids(self, table: IdTable) -> UserIds | None:
        """User IDs from a round's table, where they are switched on."""
        return UserIds(table, self.tokenizer) if self.job.train.user_id else None

    def lessons(self, table: IdTable, histories: Ragged | None = None) -> Lessons:
        """What the recommender phase learns from: whole histories where one forward can teach every item of them."""
        if self.job.train.family == "encoder-decoder":
            return self.samples(table, histories)
        histories = histories or self.data.histories
        longest = self.job.train.max_history
        return Windows(histories.offsets, histories.values, table.token_ids, self.pieces, max_history=longest)

    def item_texts(self, items: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of some items' texts, [n, S] each, on the device; S is a multiple of 16: few shapes."""
        width = min(-(-int(self.text_lengths[items].max()) // 16) * 16, self.texts.shape[1])
        mask = np.arange(width) < self.text_lengths[items, None]
        tokens = torch.from_numpy(self.texts[items, :width])
        return tokens.to(self.ranks.device), torch.from_numpy(mask.astype(np.int64)).to(self.ranks.device)

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 where `precision` says so; `auto`: on a GPU that has it. Weights and gradients stay float32."""
        device, wanted = self.ranks.device.type, self.job.train.precision
        on = wanted == "bf16" or (wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported())
        return torch.autocast(device, dtype=torch.bfloat16, enabled=on)


def imported_table(job: Job, data: Dataset, tokenizer: Any) -> IdTable | None:
    """The table of `train.imported_ids`, None without one. Raises `BadInput` for a file that is no such table."""
    if job.train.imported_ids is None:
        return None
    words = read_imported(job.imported_ids or Path(job.train.imported_ids))
    return adopt(words, tokenizer, data.item_ids, data.texts, max_tokens=job.index.max_tokens)[0]
