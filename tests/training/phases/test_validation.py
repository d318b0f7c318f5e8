"""Validation asks as the model was taught: histories as `clean` left them, repeats among them if it left those."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from components.processes.signals import Stop
from components.progress import Progress
from components.recommender.engine import Engine, Recommendation
from components.settings.decoding import Decoding
from components.settings.train import RecommenderTraining
from components.training.context import Context
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.reindex import reindex
from components.training.phases.validation import Validation, improves
from tests.training.phases.conftest import World

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
    is kept, and prompts without the repeats that the model is taught on; and lists that depend on the sample drawn."""
    asked: list[tuple[Any, bool, bool]] = []
    recommend = Engine.recommend

    def heard(self: Engine, histories: Any, k: int, decoding: Decoding, progress: Progress) -> Any:
        asked.append((histories, decoding.mask_seen, self.catalogue.drop_repeats))
        return recommend(self, histories, k, decoding, progress)

    monkeypatch.setattr(Engine, "recommend", heard)
    settings = RecommenderTraining(valid_users=8, valid_beams=24)
    again, once = (make_job(name, recommender=settings) for name in ("again", "once"))
    found = [measured(replace(again, drop_repeats=False), target) for target in ("s0soap", "b0brush")]
    measured(once, "b0brush")
    assert [(masked, drops) for _, masked, drops in asked] == [(False, False)] * 2 + [(True, False)]
    assert {str(histories) for histories, _, _ in asked} == {str([HISTORY])}
    assert found[0]["recall_at_10"] == 1.0, "24 beams over a catalogue of fewer items find every item that may come"


@pytest.mark.parametrize(("ranks", "hits", "gain"), [(1, 1, 1 / math.log2(3)), (2, 2, 1 / math.log2(3) + 1)])
def test_the_figures_are_of_the_whole_sample(
    ranks: int, hits: int, gain: float, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a state that is chosen by another figure, one that grows with the number of ranks, and decoding under
    dropout. The first user finds the target in the second place, the second user, where a peer asks for it, in the
    first; nobody else finds any."""
    context = replace(world.context, ranks=Ranks(0, ranks))
    sample = Validation.sample(context)
    target = context.data.item_ids[int(context.data.valid_targets[sample.users[0][0]])]

    def recommend(self: Engine, histories: Any, *_: Any) -> list[list[Recommendation]]:
        assert not world.recommender.module.training
        first = [Recommendation(item, "", 0.0) for item in ("another", target)]
        return [first, *([] for _ in histories[1:])]

    def total(self: Ranks, values: Tensor) -> Tensor:
        return values + torch.tensor([0, ranks - 1, 0, 0, 0, 0, 0, 0])

    monkeypatch.setattr(Engine, "recommend", recommend)
    monkeypatch.setattr(Ranks, "total", total)
    world.recommender.module.train()
    found = sample.measure(world.recommender, world.table, Progress())
    assert found == {"ndcg_at_10": pytest.approx(gain / 8), "recall_at_10": hits / 8}


def test_the_first_of_equally_good_states_is_kept() -> None:
    """Prevents patience that never ends while the figure stands still."""
    assert improves({"ndcg_at_10": 0.6}, 0.5)
    assert not improves({"ndcg_at_10": 0.5}, 0.5)
    assert improves({}, 0.5), "without validation targets the last state is the best"
