"""What every phase of a training reads and none changes: job, tables, tokenizer, prompts, item texts, ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.recommender.batches.mixture import Mixture
from components.recommender.batches.soft_targets import Teacher
from components.recommender.item_views import chosen
from components.recommender.prompts.neighbours import Listed
from components.recommender.prompts.phrasings import Pieces, Prompts, prompts_of
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.training.devices.ranks import Ranks
from components.training.ids.given import given_table
from components.training.job import Job
from components.training.packed.dataset import Dataset
from components.training.packed.tasks import tasks_of
from components.training.packed.taught import Known, Marks, item_marks, prolonged_users
from components.training.packed.texts import ItemTexts
from components.training.start import Start


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
    start: Start | None
    """The pair that the training goes on from, if it does not begin from the beginning."""
    imported: IdTable | None
    """IDs that no generator wrote (`given.given_table`): those of round 1, and what a cold start teaches."""

    @classmethod
    def build(cls, job: Job, data: Dataset, tokenizer: Any, ranks: Ranks) -> Context:
        """Tokenise prompts and item texts. Called by all ranks; raises `BadInput` as `given_table` and `Start` do."""
        start = Start.read(job)
        texts = ItemTexts.tokenise(job, data.texts, tokenizer, ranks)
        prompts = start.prompts if start else prompts_of(job.train.family)
        prompts = replace(prompts, soft=job.train.soft_prompt)
        pieces = prompts.tokenise(tokenizer)
        given = given_table(job, tokenizer, taken=start.table if start else None)
        return cls(job, data, tokenizer, prompts, pieces, texts, ranks, start, given)

    @cached_property
    def teacher(self) -> Teacher | None:
        """What has a part in the recommender's labels, if `train.distil` names a voice."""
        return Teacher.load(self.job.teacher) if self.job.teacher and self.job.train.distil.voice else None

    @cached_property
    def neighbours(self) -> Listed | None:
        """The neighbours of the items, if `train.neighbours` names a voice. Raises `BadInput` where nobody listed
        them, and as `Listed.load`."""
        if not self.job.train.neighbours.voice:
            return None
        if self.job.neighbours is None:
            mend = "train by the stage `train`, which has the voice list them, or leave train.neighbours out"
            raise BadInput("nobody listed the neighbours", where="train.neighbours", mend=mend)
        data = self.data
        return Listed.load(self.job.neighbours, count=len(data.item_ids), users=len(data.histories))

    @cached_property
    def views(self) -> dict[str, NDArray[np.float32]]:
        """View -> [items, numbers], of those that both models read. Raises `BadInput` as `item_views.chosen`."""
        return chosen(self.job.views, self.job.train.views, list(self.data.item_ids)) if self.job.views else {}

    @cached_property
    def known(self) -> Known | None:
        """What the start knows of the training histories; None without one. Raises `BadInput` as `Start.known`."""
        return None if self.start is None else self.start.known(self.data.users, self.data.histories, self._items)

    @cached_property
    def known_prolonged(self) -> Known | None:
        """The same of histories with validation items (`refit`)."""
        if self.start is None:
            return None
        return self.start.known(prolonged_users(self.data), self.data.with_validation(), self._items)

    @cached_property
    def tasks(self) -> Mixture | None:
        """The task of each training history, where the recommender learns to adapt (`train.schedule: reptile`)."""
        train = self.job.train
        return tasks_of(self.data, self.texts, train.meta, seed=self.job.seed) if train.schedule == "reptile" else None

    @cached_property
    def _items(self) -> Marks:
        return item_marks(self.data.item_ids)

    def mixture(self, histories: Ragged) -> Mixture | None:
        """How the samples of some histories are shared out among several catalogues; None where there is one."""
        shops = self.data.shops
        if len(shops) == 1:
            return None
        return Mixture(self.data.shop_numbers(histories), [shop.weight for shop in shops])

    @property
    def end_token(self) -> int:
        return int(self.tokenizer.eos_token_id)
