"""What every phase of a training reads and none changes: data, tokenizer, prompts, tokenised texts, device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.networks.rounding import round_up
from components.recommender.batches.lessons import Lessons
from components.recommender.batches.samples import Samples
from components.recommender.batches.windows import Windows
from components.recommender.models.families import prompts_of
from components.recommender.packed import pack, slices
from components.recommender.prompts.phrasings import Pieces, Prompts
from components.recommender.prompts.user_ids import UserIds
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import encode_texts, pad_id
from components.textid.writing.candidates import allowed_tokens
from components.training.devices.compiling import Compiled
from components.training.devices.ranks import Ranks
from components.training.ids.given import given_table
from components.training.job import Job
from components.training.packed.dataset import TOKENISED, Dataset
from components.training.packed.once import once
from components.training.packed.rows import Ragged, RaggedWriter

TEXT_WIDTH = 16
"""Padded item texts are multiples of this (tokens), or as long as the longest: few shapes."""

_TEXTS = 4096
"""Item texts that are tokenised at a time."""


@dataclass(frozen=True)
class Context:
    """Built once at the start."""

    job: Job
    data: Dataset
    tokenizer: Any
    prompts: Prompts
    pieces: Pieces
    texts: Ragged
    """Tokens of each item text, end token included; tokenised once for all ranks, in a mapped file."""
    longest_text: int
    """Tokens."""
    ranks: Ranks
    imported: IdTable | None
    """IDs that no generator wrote (`given.given_table`): those of round 1, and what a cold start teaches."""

    @classmethod
    def build(cls, job: Job, data: Dataset, tokenizer: Any, ranks: Ranks) -> Context:
        def write(folder: Path) -> None:
            with RaggedWriter(folder, "texts", np.int32) as writer:
                for start in range(0, len(data.texts), _TEXTS):
                    texts = data.texts[start : start + _TEXTS]
                    offsets, tokens = pack(encode_texts(tokenizer, texts, max_tokens=job.train.max_item_tokens))
                    writer.add(np.diff(offsets), tokens)

        texts = Ragged.load(once(job.work / TOKENISED, job.train_key, ranks, write), "texts", np.int32)
        longest = int(np.diff(texts.offsets).max())
        prompts = prompts_of(job.train.family)
        pieces = prompts.tokenise(tokenizer)
        return cls(job, data, tokenizer, prompts, pieces, texts, longest, ranks, given_table(job, tokenizer))

    @property
    def end_token(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def never(self) -> tuple[int, ...]:
        """Tokens that stand in no ID, as the writer of IDs knows them: signs, bytes and special ones but the end."""
        never = (~allowed_tokens(self.tokenizer)).nonzero()[:, 0].tolist()
        return tuple(token for token in never if token != self.end_token)

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
            paths=self.paths(table),
        )

    def paths(self, table: IdTable) -> Paths | None:
        """The ways of a round's IDs down their trie, where the loss is taken over it."""
        if self.job.train.recommender.loss == "vocabulary":
            return None
        return Paths.of(Trie.build(table.token_ids, end_token=self.end_token))

    def user_ids(self, table: IdTable) -> UserIds | None:
        """User IDs from a round's table, where they are switched on."""
        return UserIds(table, self.tokenizer) if self.job.train.user_id else None

    def lessons(self, table: IdTable, histories: Ragged | None = None) -> Lessons[Any]:
        """What the recommender phase learns from: whole histories where one forward can teach every item of them."""
        if self.job.train.family == "encoder-decoder":
            return self.samples(table, histories)
        histories = histories or self.data.histories
        longest = self.job.train.max_history
        return Windows(
            histories.offsets,
            histories.values,
            table.token_ids,
            self.pieces,
            max_history=longest,
            paths=self.paths(table),
        )

    def item_texts(self, items: NDArray[np.integer]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of some items' texts, [n, S] each, on the device; S is a multiple of `TEXT_WIDTH`."""
        begin = self.texts.offsets[items]
        lengths = self.texts.offsets[items + 1] - begin
        width = min(round_up(int(lengths.max()), TEXT_WIDTH), self.longest_text)
        tokens = np.full((len(items), width), pad_id(self.tokenizer), dtype=np.int64)
        row, column, token = slices(self.texts.values, begin, lengths)
        tokens[row, column] = token
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        device = self.ranks.device  # without waiting for what the device does before it takes them
        ids, seen = (torch.from_numpy(part).to(device, non_blocking=True) for part in (tokens, mask))
        return ids, seen

    def compiled(self, module: torch.nn.Module) -> Compiled:
        """The forward of `module`, compiled where `train.compile` says so."""
        return Compiled(module, self.job.train.compile, self.ranks.device)

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 where `precision` says so; `auto`: on a GPU that has it. Weights and gradients stay float32."""
        device, wanted = self.ranks.device.type, self.job.train.precision
        # Without the argument, older GPUs that only emulate bf16, slower than float32, would count as having it.
        on = wanted == "bf16" or (wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(False))
        return torch.autocast(device, dtype=torch.bfloat16, enabled=on)
