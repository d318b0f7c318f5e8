"""Two nodes on one machine: two launchers with a torchrun each, as on two machines that share a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import BadInput, StageError
from components.progress import Progress
from components.settings.train import Train
from components.storage.manifest import sha256
from components.training.job import Job
from components.training.run import launch
from tests.training.fork_server import ForkServer, free_port
from tests.training.recording import RecordingSink

MakeJob = Callable[..., Job]


@pytest.fixture
def job(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, warm: None) -> Job:
    """A short training for two nodes with one rank each."""
    for name in ("IDIOM_NODE_RANK", "NODE_RANK", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return make_job("nodes", rounds=1, nodes=2, rendezvous=f"127.0.0.1:{free_port()}")


def on_both_nodes(job: Job) -> tuple[list[object], RecordingSink]:
    """What `launch` returned or raised on node 0 and node 1, and what node 0 heard."""
    heard, results = RecordingSink(), [None, None]

    def node(rank: int) -> None:
        own = replace(job, train=replace(job.train, node_rank=rank))
        try:
            results[rank] = launch(own, Progress([heard] if rank == 0 else []))
        except StageError as error:
            results[rank] = error

    threads = [threading.Thread(target=node, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, heard


@pytest.mark.slow
def test_two_nodes_train_what_two_ranks_train(job: Job, make_job: MakeJob, fork_server: ForkServer) -> None:
    """Prevents nodes that each train alone, two that publish, and a first rank that is on whichever node came first."""
    (first, second), heard = on_both_nodes(job)
    assert isinstance(first, dict), first
    assert first["train_key"] == job.train_key
    assert second == {}, "the pair and its summary are node 0's"
    assert "recommender/loss" in heard.figures()
    together = make_job("ranks", rounds=1, ranks=2)
    answer = fork_server.run(together, ranks=2)
    assert answer["code"] == 0, answer["error"]
    for part in ("generator", "recommender", "id_table.parquet"):
        assert sha256(job.out / part) == sha256(together.out / part), part


@pytest.mark.slow
def test_an_error_on_one_node_is_told_on_both(job: Job) -> None:
    """Prevents a node that waits for ever for one that has died, an error that only the other screen shows, and
    torchrun's bare "exit code 1" where a person wants to know what is wrong and how to mend it."""
    job.histories.unlink()
    results, _ = on_both_nodes(job)
    for result in results:
        assert isinstance(result, BadInput) and "histories.parquet" in str(result)


def test_a_folder_that_is_not_shared_is_refused(job: Job, tmp_path: Path, fork_server: ForkServer) -> None:
    """Prevents a node from training on with a tokenizer, ID table or checkpoint of its own."""
    answer = fork_server.run(job, ranks=2, TEST_OTHER_WORK=f"1:{tmp_path / 'elsewhere'}")
    assert answer["codes"][1] == 2
    assert answer["codes"][0] != 0
    assert "does not see what rank 0 wrote" in answer["error"]


@pytest.mark.slow
def test_accelerate_launch_starts_the_ranks(make_job: MakeJob, warm: None) -> None:
    """Prevents a group that only our own launcher can start: accelerate's users start it their way."""
    job = make_job("accelerated", rounds=1)
    job.save(job.work / "job.json")
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(free_port()), "-m", "components.training", str(job.work / "job.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "recommender, round 1" in done.stderr, "nobody follows the progress file: the first rank shows it"
    assert (job.out / "pair.json").exists()


def test_the_other_nodes_open_no_mlflow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a second run, or a second pair, of one training; and a work folder that differs by node."""
    from components import stages
    from components.registry import tracking
    from components.settings.params import Params
    from components.storage.layout import Layout

    layout, works = Layout(tmp_path, "demo"), []
    for path in (layout.items_clean, layout.histories, layout.valid_targets):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"table")
    monkeypatch.setattr("components.training.run.launch", lambda job, progress: works.append(job.work))

    def refuse(*_: object) -> None:
        raise AssertionError("node 0 has the run")

    monkeypatch.setattr(tracking, "TrainingRun", refuse)
    for rank, meeting in ((1, "a:1"), (2, "b:2")):
        stages.train(tmp_path, Params(train=Train(nodes=3, node_rank=rank, rendezvous=meeting)))
    assert works[0] == works[1]
    with pytest.raises(AssertionError, match="node 0"):
        stages.train(tmp_path, Params(train=Train(nodes=3, node_rank=0, rendezvous="a:1")))
