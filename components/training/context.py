"""What every phase of a training reads and none changes: job, tables, tokenizer, prompts, item texts, ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.recommender.prompts.phrasings import Pieces, Prompts, prompts_of
from components.textid.table.id_table import IdTable
from components.training.devices.ranks import Ranks
from components.training.ids.given import given_table
from components.training.job import Job
from components.training.packed.dataset import Dataset
from components.training.packed.texts import ItemTexts


@dataclass(frozen=True)
class Context:
    """Built once, before the models."""

    job: Job
    data: Dataset
    tokenizer: Any
    prompts: Prompts
    pieces: Pieces
    """The prompts as token ids."""
    texts: ItemTexts
    ranks: Ranks
    imported: IdTable | None
    """IDs that no generator wrote (`given.given_table`): those of round 1, and what a cold start teaches."""

    @classmethod
    def build(cls, job: Job, data: Dataset, tokenizer: Any, ranks: Ranks) -> Context:
        """Tokenise prompts and item texts. Called by all ranks; raises `BadInput` as `given_table` does."""
        texts = ItemTexts.tokenise(job, data.texts, tokenizer, ranks)
        prompts = prompts_of(job.train.family)
        pieces = prompts.tokenise(tokenizer)
        return cls(job, data, tokenizer, prompts, pieces, texts, ranks, given_table(job, tokenizer))

    @property
    def end_token(self) -> int:
        return int(self.tokenizer.eos_token_id)
