"""Several processes: they take exactly the steps that one takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from components.errors import BadInput
from components.params import RecommenderTraining
from components.progress import Progress
from components.recommender.engine import Engine
from components.training.job import Job
from components.training.ranks import Ranks, pick_device
from components.training.run import launch

MakeJob = Callable[..., Job]


def run_script(name: str, *arguments: str, repository: Path, ranks: int) -> None:
    """Run a script of this folder as that many processes; fails with what it printed, or where one waits for ever."""
    script = [str(Path(__file__).with_name(name)), *arguments]
    runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *runner, *script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def gradients(job: Job, repository: Path, ranks: int) -> dict[str, Tensor]:
    """Averaged gradients of one step of each phase, by that many processes."""
    out = job.work.parent / f"gradients{ranks}.safetensors"
    job.save(job.work / "job.json")
    run_script("rank_step.py", str(job.work / "job.json"), str(out), repository=repository, ranks=ranks)
    return load_file(out)


def reindexed(job: Job, repository: Path, ranks: int) -> list[Path]:
    """What each of that many processes says of a re-index."""
    out = job.work.parent / f"reindexed{ranks}"
    job.save(job.work / "job.json")
    run_script("rank_reindex.py", str(job.work / "job.json"), str(out), repository=repository, ranks=ranks)
    return [Path(f"{out}.{rank}") for rank in range(ranks)]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["encoder-decoder", "decoder-only"])
def test_two_ranks_with_half_a_batch_take_the_step_of_one(make_job: MakeJob, repository: Path, family: str) -> None:
    """Prevents gradients that are not averaged, or averaged by rank where the ranks' target tokens differ in number."""
    job = make_job(dropout=0.0, family=family)
    one, two = (gradients(job, repository, ranks) for ranks in (1, 2))
    assert set(one) == set(two)
    assert {name.split("/")[0] for name in one} == {"recommender", "generator"}
    for name in one:
        # Everything is float64 but the cross-entropy, which the recommender takes in float32.
        assert torch.allclose(one[name], two[name], rtol=1e-6, atol=1e-7), name
    assert max(float(value.abs().max()) for name, value in one.items() if name.startswith("generator/enc")) > 1e-4


@pytest.mark.slow
def test_ranks_share_a_reindex_and_stop_it_together(make_job: MakeJob, repository: Path) -> None:
    """Prevents tables that depend on the number of ranks, and a signal to one rank that leaves the others waiting."""
    job = make_job()
    found = [json.loads(path.read_text()) for ranks in (1, 2) for path in reindexed(job, repository, ranks)]
    assert len(found) == 3
    assert found[1:] == [found[0]] * 2
    assert found[0]["ended"] == "interrupted"
    assert found[0]["row"]["report"]["written"] == 24


class Heard:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def emit(self, event: str, fields: Any) -> None:
        self.events.append((event, dict(fields)))

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_two_ranks_train_a_pair_that_recommends(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a launch whose progress, errors or result do not come back to the stage."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    heard = Heard()
    job = make_job(ranks=2)
    facts = launch(job, Progress([heard]))
    assert facts["train_key"] == job.train_key
    assert any(event == "metrics" and "recommender/loss" in fields["values"] for event, fields in heard.events)
    hits = Engine.load(job.out, device="cpu").recommend([["s0soap"]], k=3, beams=5, scores="trie", mask_seen=True)
    assert len(hits[0]) == 3
    lines = (job.out / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines].count("index") == 2


@pytest.mark.slow
def test_an_error_of_a_rank_reaches_the_caller(make_job: MakeJob) -> None:
    """Prevents torchrun's bare "exit code 1" where a person wants to know what is wrong and how to mend it."""
    job = make_job(ranks=2, recommender=RecommenderTraining(batch_size=8))
    job.histories.unlink()
    with pytest.raises(BadInput, match=r"histories\.parquet"):
        launch(job, Progress())


def test_the_mean_is_over_tokens() -> None:
    """Prevents a step that grows with the batch: the summed gradient is divided by the target tokens."""
    weight = nn.Parameter(torch.ones(3))
    loss = (weight * torch.tensor([1.0, 2.0, 3.0])).sum()
    loss.backward()
    step = Ranks().combine([weight], loss, tokens=4, stop=False)
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.25, 0.5, 0.75]
    assert (float(step.loss), step.tokens, step.stop) == (6.0, 4, False)


def test_a_gpu_that_is_not_there_is_bad_input() -> None:
    """Prevents a CUDA stack trace on a machine with fewer GPUs than ranks."""
    with pytest.raises(BadInput, match=r"train\.device"):
        pick_device("cuda:99")
