"""The small parts: seeds, schedule, jobs, tables, crash points, signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import nn

from components.errors import BadInput, Interrupted
from components.processes.signals import Stop
from components.progress import Progress
from components.sampling import derive
from components.settings.train import GeneratorTraining, Train
from components.training import crash
from components.training.alternation import epochs_until, plan
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints
from components.training.checkpoints.state import Best, Place, TrainingState
from components.training.devices.ranks import Ranks
from components.training.job import Job
from components.training.packed import dataset
from components.training.steps.loop import Optimisation, learning_rate, train_phase
from components.training.steps.seeds import rng

MakeJob = Callable[..., Job]


def test_seeds_differ_by_place_and_repeat() -> None:
    """Prevents two phases from drawing the same batches, and a resumed epoch from drawing others."""
    places = [("recommender", 1, 0), ("recommender", 1, 1), ("recommender", 11, 0), ("generator", 1, 0)]
    assert len({derive(17, *place) for place in places}) == len(places)
    assert derive(17, "recommender", 1) == derive(17, "recommender", 1) < 2**63
    assert rng(17, "a").permutation(9).tolist() == rng(17, "a").permutation(9).tolist()


def test_the_rate_rises_then_falls_and_never_stops() -> None:
    """Prevents a first or last step that moves nothing, and a warm-up longer than the phase."""
    rates = [learning_rate(step, steps=20, peak=1.0, warmup_share=0.2) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert all(left > right > 0 for left, right in pairwise(rates[3:]))
    assert learning_rate(0, steps=1, peak=1.0, warmup_share=0.0) == 1.0
    assert learning_rate(4, steps=5, peak=1.0, warmup_share=1.0) == 1.0


def test_a_job_survives_its_file(make_job: MakeJob, tmp_path: Path) -> None:
    """Prevents a setting that gets lost between the stage and the process that trains."""
    job = make_job(user_id=False, rounds=3, generator=GeneratorTraining(lr=3e-4), imported_ids="ids.tsv")
    job = replace(job, imported_ids=tmp_path / "ids.tsv")
    job.save(tmp_path / "job.json")
    assert Job.load(tmp_path / "job.json") == job


@pytest.mark.parametrize("content", ["", "{", "[]", '{"train": {}}', '{"train": {"generator": {"speed": 1}}}'])
def test_a_broken_job_is_refused(content: str, tmp_path: Path) -> None:
    """Prevents a stack trace where a person wants to know which file is wrong."""
    path = tmp_path / "job.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"job\.json"):
        Job.load(path)


def test_a_job_cannot_name_the_test_targets(make_job: MakeJob) -> None:
    """Prevents a field through which the test set could reach a training."""
    assert not [name for name in Job.__dataclass_fields__ if "test" in name]
    assert not [value for value in vars(make_job()).values() if "test_targets" in str(value)]


def test_items_are_numbered_as_the_catalogue_and_prompts_hold_the_context(make_job: MakeJob) -> None:
    """Prevents other numbers than those of `clean`, and validation prompts that lack what came before the target."""
    job = make_job(refit=True)
    users = pq.read_table(job.valid_targets).to_pydict()
    contexts = [["h0honey"] if at == 3 else [] for at in range(len(users["user_id"]))]
    pq.write_table(pa.table({**users, "context": pa.array(contexts, pa.list_(pa.string()))}), job.valid_targets)
    items = pq.read_table(job.items_clean)
    pq.write_table(items.take(list(range(len(items)))[::-1]), job.items_clean)
    loaded = dataset.load(job)
    assert list(loaded.item_ids) == pq.read_table(job.items_clean)["item_id"].to_pylist()
    at = loaded.valid_users.index("u003")
    prompt = [loaded.item_ids[item] for item in loaded.valid_prompt(at)]
    history = [loaded.item_ids[item] for item in loaded.histories.row(at)]
    assert prompt == [*history, "h0honey"]
    longer = loaded.with_validation()
    assert longer.row(at).tolist() == [*loaded.valid_prompt(at), loaded.valid_targets[at]]


def test_a_user_without_training_history_is_validated_from_the_context(make_job: MakeJob) -> None:
    """Prevents a crash on users who came after the cut of a split by time."""
    job = make_job(refit=True)
    users = pq.read_table(job.valid_targets).to_pydict()
    contexts = pa.array([["h0honey"]] + [[] for _ in users["user_id"]], pa.list_(pa.string()))
    users = {"user_id": ["a-new-one", *users["user_id"]], "target": ["h1honey", *users["target"]]}
    pq.write_table(pa.table({**users, "context": contexts}), job.valid_targets)
    loaded = dataset.load(job)
    assert [loaded.item_ids[item] for item in loaded.valid_prompt(0)] == ["h0honey"]
    assert len(loaded.with_validation()) == len(loaded.histories) + 1


def test_an_item_without_text_row_is_named(make_job: MakeJob) -> None:
    """Prevents histories and items of two different runs of `clean` from being trained together."""
    job = make_job()
    pq.write_table(pq.read_table(job.items_clean).slice(1), job.items_clean)
    with pytest.raises(BadInput, match="b0brush"):
        dataset.load(job)


def test_a_missing_table_is_bad_input(make_job: MakeJob) -> None:
    """Prevents a stack trace of pyarrow."""
    job = make_job()
    job.histories.unlink()
    with pytest.raises(BadInput, match=r"histories\.parquet"):
        dataset.load(job)


def test_the_plan_alternates() -> None:
    """Prevents a round without its re-index, and IDs written again by a generator that has not changed."""
    kinds = [str(task) for task in plan(Train(rounds=2, refit=True))]
    assert kinds == [
        "cold_start, round 1",
        "index, round 1",
        "recommender, round 1",
        "generator, round 2",
        "index, round 2",
        "recommender, round 2",
        "refit, round 3",
    ]
    tasks = [task.kind for task in plan(Train(rounds=2, generator=GeneratorTraining(epochs=0)))]
    assert tasks == ["cold_start", "index", "recommender", "recommender"]
    # Hard IDs are read, but their choice is still taught: an ablation of softness, not of the phase.
    assert plan(Train(generator=GeneratorTraining(soft=False))) == plan(Train())


def test_a_generator_that_is_not_asked_learns_nothing() -> None:
    """Prevents minutes of cold start and generator phase before IDs that a rule writes."""
    for source in ("titles", "random"):
        assert [task.kind for task in plan(Train(rounds=2, ids=source))] == ["index", "recommender", "recommender"]


def test_a_planned_crash_comes_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents resume tests that test nothing because the crash never came."""
    crash.arm("generator.batch:raise:2")
    try:
        crash.crash_point("generator.batch")
        crash.crash_point("recommender.batch")
        with pytest.raises(crash.PlannedCrash):
            crash.crash_point("generator.batch")
        for wrong in ("generator.batch", "nowhere:kill", "generator.batch:faint", "generator.batch:kill:soon", ":::"):
            with pytest.raises(BadInput):
                crash.arm(wrong)
    finally:
        crash.arm(None)


class Reached(Exception):
    """The second epoch was begun."""


class Epochs:
    """A phase of two epochs, of which the first is done but for its end."""

    name, round, epochs, peak_lr, module = "recommender", 1, 2, 0.1, nn.Linear(1, 1)

    def batches(self, epoch: int) -> list[None]:
        if epoch:
            raise Reached
        return [None]

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        return False


@pytest.mark.parametrize(("ranks", "ends"), [(1, Interrupted), (2, Reached)])
def test_a_rank_never_leaves_the_others_between_two_epochs(ranks: int, ends: type[Exception], tmp_path: Path) -> None:
    """Prevents: a signal that one rank hears first, after the last step of an epoch; it would end alone, and the others
    would wait for it in a step and lose what was learned since the last checkpoint."""
    stop = Stop()
    stop.signal = "SIGTERM"
    state, here = TrainingState(nn.Linear(1, 1), nn.Linear(1, 1), place=Place(0, 0, 1)), Ranks(0, ranks)
    checkpointer = Checkpointer(state, Checkpoints(tmp_path, "k"), here, stop, seconds=60.0)
    with pytest.raises(ends):
        train_phase(Epochs(), state, Optimisation(17, 0.0, 1.0, 0.05), here, checkpointer, Progress())  # type: ignore[arg-type]


def test_refit_learns_as_many_epochs_as_were_chosen() -> None:
    """Prevents a refit of five epochs a round where patience ended the first round after two."""
    rows = [("recommender", 1, 1), ("recommender", 1, 2), ("generator", 2, 1), ("recommender", 2, 1)]
    log: list[dict[str, Any]] = [{"event": "index", "round": 1}]
    log += [{"event": "epoch", "phase": phase, "round": number, "epoch": epoch} for phase, number, epoch in rows]
    log += [{**log[-1], "event": "out_of_memory", "batch": 3}, {**log[-1], "epoch": 2}]
    best = Best(ndcg=0.5, round=2, epoch=1, metrics={}, table=None, generator={}, recommender={})  # type: ignore[arg-type]
    assert epochs_until(best, log) == 3
