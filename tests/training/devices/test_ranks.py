"""Several processes: they take exactly the steps that one takes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch import distributed as dist

from components.errors import BadInput, Interrupted
from components.processes.torchrun import run_ranks
from components.progress import Progress
from components.recommender.engine import Engine
from components.settings.decoding import Decoding
from components.settings.train import RecommenderTraining
from components.training.devices.ranks import Ranks, joined
from components.training.job import Job
from components.training.run import launch
from tests.training.conftest import micro
from tests.training.fork_server import ForkServer
from tests.training.recording import RecordingSink
from tests.training.slow_save import SAVED

MakeJob = Callable[..., Job]


def gradients(fork_server: ForkServer, job: Job, ranks: int, micro_batch: int = 0) -> dict[str, Tensor]:
    """Averaged gradients of one step of each phase, by that many processes."""
    out = job.work.parent / f"gradients{ranks}-{micro_batch}.safetensors"
    answer = fork_server.run(job, ranks=ranks, TEST_STEP=str(out), TEST_MICRO_BATCH=str(micro_batch))
    assert answer["code"] == 0, answer["error"]
    return load_file(out)


def reindexed(fork_server: ForkServer, job: Job, ranks: int) -> list[dict[str, Any]]:
    """What each of that many processes says of a re-index."""
    out = job.work.parent / f"reindexed{ranks}"
    answer = fork_server.run(job, ranks=ranks, TEST_REINDEX=str(out))
    assert answer["code"] == 0, answer["error"]
    return [json.loads(Path(f"{out}.{rank}").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize("loss", ["vocabulary", "trie"])
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_two_ranks_with_half_a_batch_take_the_step_of_one(
    make_job: MakeJob, fork_server: ForkServer, family: str, loss: Any
) -> None:
    """Prevents gradients that are not averaged, averaged by rank where the ranks' target tokens differ in number, or
    lost where each rank takes its half in pieces."""
    job = make_job(dropout=0.0, family=family, recommender=replace(micro().recommender, loss=loss))
    one, two = gradients(fork_server, job, 1), gradients(fork_server, job, 2)
    in_pieces = gradients(fork_server, job, 2, micro_batch=1)
    assert set(one) == set(two) == set(in_pieces)
    assert {name.split("/")[0] for name in one} == {"cold_start", "recommender", "generator"}
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-10, atol=1e-11), name
        assert torch.allclose(one[name], in_pieces[name], rtol=1e-10, atol=1e-11), name
    assert max(float(value.abs().max()) for name, value in one.items() if name.startswith("generator/enc")) > 1e-4


def test_a_rank_without_memory_delays_the_others_and_changes_nothing(
    make_job: MakeJob, fork_server: ForkServer
) -> None:
    """Prevents ranks that wait for ever, or average different steps, when one of them has to begin a step again: losses
    and weights are those of ranks which took as many rows from the start, but for the rounding of the first step."""
    small = RecommenderTraining(epochs=1, batch_size=8, micro_batch=2, valid_users=4, valid_beams=2)
    pairs = []
    for name, rows, limit in (("small", 2, ""), ("halved", 0, "1:2")):
        job = make_job(name, dropout=0.0, rounds=1, recommender=replace(small, micro_batch=rows))
        answer = fork_server.run(job, ranks=2, TEST_MEMORY_ROWS=limit)
        assert answer["code"] == 0, answer["error"]
        pairs.append(job.out)
    small_log, log = (
        [json.loads(line) for line in (pair / "training_log.jsonl").read_text().splitlines()] for pair in pairs
    )
    assert [row["rows"] for row in log if row["event"] == "out_of_memory"] == [2]
    assert learned(log) == pytest.approx(learned(small_log), rel=1e-5)
    weights = [load_file(pair / "recommender" / "model.safetensors") for pair in pairs]
    for name in weights[0]:
        # A step moves a weight by up to 2e-3.
        assert float((weights[0][name] - weights[1][name]).abs().mean()) < 1e-6, name


def test_ranks_share_a_reindex_and_stop_it_together(make_job: MakeJob, fork_server: ForkServer) -> None:
    """Prevents tables that depend on the number of ranks, and a signal to one rank that leaves the others waiting."""
    job = make_job()
    found = [said for ranks in (1, 2) for said in reindexed(fork_server, job, ranks)]
    assert len(found) == 3
    assert found[1:] == [found[0]] * 2
    assert found[0]["ended"] == "interrupted"
    assert found[0]["row"]["report"]["written"] == 24


def learned(log: list[dict[str, Any]]) -> list[float]:
    """Loss and gradient norm of each epoch."""
    return [row[name] for row in log if row["event"] == "epoch" for name in ("loss", "grad_norm")]


def test_a_rank_without_memory_for_one_row_ends_all(make_job: MakeJob, fork_server: ForkServer) -> None:
    """Prevents a rank that hangs in the all-reduce because its peer has given up."""
    answer = fork_server.run(make_job(rounds=1), ranks=2, TEST_MEMORY_ROWS="1:0")
    assert answer["codes"][1] == 2
    assert answer["codes"][0] != 0, "the other rank must end too"
    assert "one row at a time does not fit" in answer["error"]


@pytest.mark.slow
def test_two_ranks_train_a_pair_that_recommends(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a launch whose progress, errors or result do not come back to the stage."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    heard = RecordingSink()
    job = make_job(ranks=2)
    facts = launch(job, Progress([heard]))
    assert facts["train_key"] == job.train_key
    assert any(event == "metrics" and "recommender/loss" in fields["values"] for event, fields in heard.events)
    hits = Engine.load(job.out, device="cpu").recommend([["s0soap"]], 3, Decoding(beams=5))
    assert len(hits[0]) == 3
    lines = (job.out / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines].count("index") == 2


@pytest.mark.slow
def test_no_rank_ends_before_the_first_one_has_saved(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, warm: None
) -> None:
    """Prevents "the checkpoint is saved" of a checkpoint that torchrun killed: it kills when another rank is gone, and
    all of them 30 seconds after a signal."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job = make_job(ranks=2, rounds=1, recommender=RecommenderTraining(epochs=4000, batch_size=8, valid_users=1))

    class Impatient(RecordingSink):
        def emit(self, event: str, fields: Mapping[str, Any]) -> None:
            if event == "metrics" and "recommender/loss" in fields["values"] and not self.events:
                super().emit(event, fields)
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="the checkpoint is saved"):
        run_ranks("tests.training.slow_save", job, ranks=2, progress=Progress([Impatient()]))
    seconds, other_ended = json.loads((job.work / SAVED).read_text())
    assert seconds >= 600.0 and not other_ended


def test_the_mean_is_over_tokens() -> None:
    """Prevents a step that grows with the batch: the summed gradient is divided by the target tokens."""
    weight = nn.Parameter(torch.ones(3))
    loss = (weight * torch.tensor([1.0, 2.0, 3.0])).sum()
    loss.backward()
    step = Ranks().combine([weight], loss, tokens=4, stop=False)
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.25, 0.5, 0.75]
    assert (float(step.loss), step.tokens, step.stop) == (6.0, 4, False)


def test_what_a_peer_says_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents ranks that wait for each other for ever: one heard a signal, or had no row of a small batch."""
    peer = iter([torch.tensor([6.0, 3.0, 1.0, 2.0], dtype=torch.float64), torch.tensor([3.0, 6.0, 9.0])])
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(next(peer)))
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))]
    step = Ranks(1, 2).combine(weights, torch.zeros(()), tokens=0, stop=False)
    assert (float(step.loss), step.tokens, step.stop, step.retries) == (6.0, 3, True, 2)
    assert [weight.grad.tolist() for weight in weights if weight.grad is not None] == [[1.0, 2.0], [3.0]]


def test_a_gpu_that_is_not_there_is_bad_input() -> None:
    """Prevents a CUDA stack trace on a machine with fewer GPUs than ranks."""
    with pytest.raises(BadInput, match=r"train\.device"), joined("cuda:99"):
        pass
