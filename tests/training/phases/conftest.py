"""A training before its first step, for the tests of its phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from components.textid.table.id_table import IdTable
from components.textid.writing.imported import adopt
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase


@dataclass
class World:
    """A training before its first step, with two tables that share no ID."""

    context: Context
    generator: Any
    recommender: Any
    table: IdTable
    other: IdTable

    def recommender_phase(self, table: IdTable | None = None, round: int = 1) -> RecommenderPhase:
        """On the IDs of `table` (None: the first)."""
        ids = table or self.table
        return RecommenderPhase(self.context, self.recommender, ids, round=round, after=lambda epoch, row: False)

    def generator_phase(self, round: int = 2) -> GeneratorPhase:
        """On the IDs of the first table."""
        return GeneratorPhase(self.context, self.generator, self.recommender, self.table, round=round)


def world_of(job: Job) -> World:
    """The world of a job."""
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, Ranks()), Ranks())
    state, recommender = fresh_models(context)
    words = {item: f"word {item}" for item in tables.item_ids}
    table, other = (
        adopt(said, context.tokenizer, tables.item_ids, tables.texts, max_tokens=6)[0] for said in ({}, words)
    )
    return World(context, state.generator, recommender, table, other)


@pytest.fixture
def world(make_job: Callable[..., Job]) -> World:
    """The world of the micro job, without dropout."""
    return world_of(make_job(dropout=0.0))
