"""Settings of the phases reach what they are about; a value that nobody obeys would stand in every log as if it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.recommender.loss.batch_loss import batch_loss
from components.settings.train import Distillation, Family, GeneratorTraining, RecommenderTraining
from components.training.job import Job
from components.training.phases.recommender import training_set
from components.voices.teacher import write
from tests.training.phases.conftest import world_of

MakeJob = Callable[..., Job]


def test_the_recommender_learns_as_it_is_set(make_job: MakeJob) -> None:
    """Prevents `label_smoothing` and `prefixes` from being accepted and not used."""
    settings = RecommenderTraining(batch_size=8, prefixes="one", label_smoothing=0.9)
    world = world_of(make_job(dropout=0.0, recommender=settings))
    phase = world.recommender_phase()
    starts_of = world.context.data.histories.starts_of
    users = [int(start) for rows in phase.batches(0) for start in starts_of(rows.targets)]
    assert len(users) == len(set(users)) == 14
    rows = phase.batches(0)[0]
    batch = phase._samples.collate(rows)
    plain, smooth = (batch_loss(world.recommender, batch, label_smoothing=share).total.item() for share in (0.0, 0.9))
    assert phase.loss(rows)[0].item() == pytest.approx(smooth, rel=1e-6)
    assert abs(smooth - plain) > 0.1, "or this would show nothing"


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_a_voice_teaches_where_it_is_named(make_job: MakeJob, family: Family) -> None:
    """Prevents `distil` from being accepted and not used, and a teacher in the way of a training that names none."""
    settings: dict[str, Any] = {"dropout": 0.0, "family": family, "refit": True}
    plain = make_job(**settings)
    chosen = Distillation(voice="graph", weight=0.5, items=3)
    folder = write(plain.work.parent / "teacher", plain.items_clean, plain.histories, chosen, seed=3)
    losses = []
    for job in (plain, replace(plain, teacher=folder), replace(make_job(**settings, distil=chosen), teacher=folder)):
        world = world_of(job)
        phase = world.recommender_phase()
        losses.append([phase.loss(rows)[0].item() for rows in phase.batches(0)])
        prolonged = training_set(world.context, world.table, world.context.data.with_validation())
        batch = prolonged.collate(next(iter(prolonged.epoch(seed=1, number=0, batch_size=8))))
        assert (batch.soft is not None) == (job.train.distil.voice is not None)
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_items_are_reworded_where_that_is_asked_for(make_job: MakeJob, family: Family) -> None:
    """Prevents `id_word_dropout` from being accepted and not used,."""
    losses = []
    for share in (0.0, 0.5):
        settings = RecommenderTraining(batch_size=8, id_word_dropout=share)
        world = world_of(make_job(dropout=0.0, family=family, recommender=settings))
        phase = world.recommender_phase()
        losses.append([phase.loss(rows)[0].item() for rows in phase.batches(0)])
        assert (training_set(world.context, world.table)._wordings is None) == (share == 0.0)
    assert losses[0] != losses[1]


def test_the_generator_learns_from_as_much_as_it_is_set_to(make_job: MakeJob) -> None:
    """Prevents fewer users than `samples`, where they are no whole number of batches, and histories that are longer
    than those which the recommender has learned to read."""
    world = world_of(make_job(max_history=1, generator=GeneratorTraining(batch_size=7, samples=8)))
    phase = world.generator_phase()
    batches = phase.batches(0)
    assert [len(rows) for rows in batches] == [7, 7]
    bought = world.context.data.histories
    targets = [int(target) for rows in batches for target in rows.targets]
    assert max(targets - bought.starts_of(targets)) == 2, "or there would be nothing to cut"
    histories = [history.tolist() for rows in batches for history in phase.histories(rows)]
    assert histories == [[bought.values[target - 1]] for target in targets]
