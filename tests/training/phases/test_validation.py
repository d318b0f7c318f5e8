"""Validation asks as the model was taught: histories as `clean` left them, repeats among them if it left those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.params_train import RecommenderTraining
from components.progress import Progress
from components.recommender.engine import Engine
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.reindex import reindex
from components.training.phases.validation import Validation
from components.training.processes.stop import Stop

MakeJob = Callable[..., Job]
HISTORY = ["s0soap", "s1soap", "s0soap", "t0towel"]


def measured(job: Job, target: str) -> dict[str, float]:
    """The figures of an untrained model for one user who goes on with `target`."""
    pq.write_table(pa.table({"user_id": ["u"], "history": [HISTORY]}), job.histories)
    contexts = pa.array([[]], pa.list_(pa.string()))
    pq.write_table(pa.table({"user_id": ["u"], "context": contexts, "target": [target]}), job.valid_targets)
    data = dataset.load(job)
    context = Context.build(job, data, tokenizer_of(job, data, Ranks()), Ranks())
    state, recommender = fresh_models(context)
    table = reindex(context, state, 1, Stop(), Progress())[0]
    return Validation.sample(context).measure(recommender, table, Progress())


def test_who_buys_again_can_be_found(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: with `clean.drop_repeats: false`, a validation of 0 whatever was learnt, so that the first state of all
    is kept, and prompts without the repeats that the model is taught on."""
    asked: list[tuple[Any, dict[str, Any]]] = []
    recommend = Engine.recommend

    def heard(self: Engine, histories: Any, **how: Any) -> Any:
        asked.append((histories, how))
        return recommend(self, histories, **how)

    monkeypatch.setattr(Engine, "recommend", heard)
    settings = RecommenderTraining(valid_users=8, valid_beams=24)
    measured(make_job("again", recommender=settings), "s0soap")
    measured(make_job("new", recommender=settings), "b0brush")
    assert [histories for histories, _ in asked] == [[HISTORY], [HISTORY]]
    assert [(how["mask_seen"], how["drop_repeats"]) for _, how in asked] == [(False, False), (True, False)]
