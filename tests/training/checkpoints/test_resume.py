"""A training killed at any point and started again ends with the bytes of the undisturbed one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from components.storage.manifest import sha256
from components.training.crash import KINDS, POINTS
from components.training.job import Job
from tests.training.conftest import micro
from tests.training.fork_server import ForkServer
from tests.workspaces import disk

MakeJob = Callable[..., Job]
pytestmark = pytest.mark.slow

EXIT = {"kill": -9, "term": 130, "raise": 1}
# Once all phases are done a SIGTERM finds nothing left to save, and the pair is published.
FINISHES = {"publish.start", "publish.done", "publish.finished"}
# Passed for the n-th time: in the middle of an epoch, and where the checkpoint before is one of many.
NTH = {"recommender.batch": 4, "generator.batch": 2, "checkpoint.weights": 5, "checkpoint.manifest": 6}


@pytest.fixture
def make_job(make_job: MakeJob) -> MakeJob:
    """With a short cold start: the first phase is left and entered like any other."""
    return partial(make_job, generator=replace(micro().generator, cold_start_steps=4))


@pytest.fixture(scope="module")
def undisturbed(fork_server: ForkServer) -> dict[Any, str]:
    """Digest of the pair of a training that nothing disturbs, by its settings; filled as they are asked for."""
    return {}


def expected(job: Job, fork_server: ForkServer, undisturbed: dict[Any, str]) -> str:
    settings = (job.train.checkpoint_seconds, job.train.refit, job.train.family)
    if settings not in undisturbed:
        calm = replace(job, out=job.out.parent / "calm" / "pair", work=job.out.parent / "calm" / "work")
        answer = fork_server.run(calm)
        assert answer["code"] == 0, answer["error"]
        undisturbed[settings] = sha256(calm.out)
    return undisturbed[settings]


def ends_whole(job: Job, fork_server: ForkServer, whole: str) -> str:
    """Run it: it ends with the bytes `whole`. Returns what it said."""
    answer = fork_server.run(job)
    assert answer["code"] == 0, answer["error"]
    assert sha256(job.out) == whole
    return str(answer["error"])


@pytest.mark.parametrize(
    ("point", "kind"),
    # An exception outside of a step meets what SIGKILL meets there: nothing of a training catches it.
    [(point, kind) for point in POINTS for kind in KINDS if kind != "raise" or point.endswith(".batch")],
)
def test_killed_anywhere_it_ends_with_the_same_bytes(
    point: str, kind: str, make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents state that a checkpoint forgets: an optimizer moment, a random draw, a log line, the best weights.

    After SIGKILL it goes on from the end of the phase before; else from the very step, as a checkpoint is due at each.
    """
    job = make_job(checkpoint_seconds=60.0 if kind == "kill" else 0.0, refit=point == "refit.batch")
    whole = expected(job, fork_server, undisturbed)
    disturbed = fork_server.run(job, IDIOM_CRASH=f"{point}:{kind}:{NTH.get(point, 1)}")
    finishes = kind == "term" and point in FINISHES
    assert disturbed["code"] == (0 if finishes else EXIT[kind]), disturbed["error"]
    if not finishes and point not in ("publish.done", "publish.finished"):
        assert not job.out.exists(), "half a training must not be published"
    ends_whole(job, fork_server, whole)


def test_a_pair_that_dvc_deleted_is_published_again(
    make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents a whole training for a kill between its end and DVC's lock file: DVC deletes the output and runs again.

    Checkpoints of trainings that were finished before do not pile up; those of unfinished ones stay.
    """
    job = make_job(checkpoint_seconds=0.0)
    before = [job.work.parent / name / "checkpoints" for name in ("older", "unfinished")]
    for folder in before:
        (folder / "00000001").mkdir(parents=True)
    (before[0] / "finished").touch()
    whole = expected(job, fork_server, undisturbed)
    assert fork_server.run(job, IDIOM_CRASH="publish.finished:kill")["code"] == -9
    assert [folder.exists() for folder in before] == [False, True]
    assert len(list((job.work / "checkpoints").glob("0*"))) == 1
    shutil.rmtree(job.out)
    assert "all phases are done" in ends_whole(job, fork_server, whole)


@pytest.mark.parametrize("point", ["recommender.batch", "generator.batch"])
def test_a_killed_decoder_only_training_ends_with_the_same_bytes(
    point: str, make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents windows of whole histories, or dropout, that are drawn otherwise after a resume."""
    job = make_job(checkpoint_seconds=0.0, family="decoder-only")
    whole = expected(job, fork_server, undisturbed)
    assert fork_server.run(job, IDIOM_CRASH=f"{point}:kill:2")["code"] == -9
    ends_whole(job, fork_server, whole)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents a silent start from flipped bits, and a lost night because the newest checkpoint is damaged."""
    job = make_job(checkpoint_seconds=0.0)
    whole = expected(job, fork_server, undisturbed)
    assert fork_server.run(job, IDIOM_CRASH="generator.batch:kill:2")["code"] == -9
    newest = sorted((job.work / "checkpoints").glob("0*"))
    assert len(newest) == 2, "the newest and the one before are kept"
    weights = newest[-1] / "recommender.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    said = ends_whole(job, fork_server, whole)
    assert f"{newest[-1]} is damaged" in said
    assert f"going on from checkpoint {int(newest[-2].name)}" in said


@pytest.mark.parametrize("cut", ["state.json", "manifest.json", "generator.safetensors"])
def test_half_a_checkpoint_is_not_used(
    cut: str, make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents a torn write (a machine that lost power) from being read as a state."""
    job = make_job(checkpoint_seconds=0.0)
    whole = expected(job, fork_server, undisturbed)
    assert fork_server.run(job, IDIOM_CRASH="cold_start.batch:kill:3")["code"] == -9
    for path in sorted((job.work / "checkpoints").glob("0*")):
        half = (path / cut).read_bytes()
        (path / cut).write_bytes(half[: len(half) // 2])
    answer = fork_server.run(job)
    assert answer["code"] == 0, answer["error"]
    assert answer["error"].count("is damaged") == 2
    assert "going on" not in answer["error"]
    assert sha256(job.out) == whole


def test_a_checkpoint_of_other_inputs_is_not_used(
    make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents weights of other data from entering a training through a work folder that is used again."""
    job = make_job(checkpoint_seconds=0.0)
    other = replace(job, train_key="o" * 64)
    assert fork_server.run(other, IDIOM_CRASH="index.done:kill")["code"] == -9
    assert "belongs to other inputs" in ends_whole(job, fork_server, expected(job, fork_server, undisturbed))


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(
    make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents a stack trace of safetensors, and an old checkpoint that is removed before the new one stands."""
    job = make_job(checkpoint_seconds=0.0)
    whole = expected(job, fork_server, undisturbed)
    assert fork_server.run(job, IDIOM_CRASH="index.start:kill")["code"] == -9
    answer = fork_server.run(job, TEST_FILE_LIMIT="60000")  # weights are 39 kB, the optimizer's moments twice that
    assert answer["code"] == 2
    assert "no space left" in answer["error"]
    assert "Traceback" not in answer["error"]
    kept = sorted(path.name for path in (job.work / "checkpoints").glob("*"))
    assert len(kept) == 2
    assert f"checkpoint {kept[-1]} stays" in answer["error"]
    assert f"going on from checkpoint {int(kept[-1])}" in ends_whole(job, fork_server, whole)


@pytest.mark.parametrize("kibibytes", [100, 500])
def test_a_disk_that_is_really_full_is_said(
    kibibytes: int, make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents a stack trace wherever the last free block is used up (500 KiB: a later checkpoint; 100: the first one),
    and a training that cannot go on once there is room."""
    job = make_job(checkpoint_seconds=0.0)
    whole = expected(job, fork_server, undisturbed)
    with disk(job.work, kibibytes):
        answer = fork_server.run(job)
        assert answer["code"] == 2, answer["error"]
        assert "no space left" in answer["error"]
        assert "Traceback" not in answer["error"]
        assert not job.out.exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(job.work)], check=True)
        assert ("going on from checkpoint" in ends_whole(job, fork_server, whole)) == (kibibytes == 500)


def test_the_test_targets_cannot_matter(
    make_job: MakeJob, fork_server: ForkServer, undisturbed: dict[Any, str]
) -> None:
    """Prevents the released code's leak in any form: garbage in place of the test targets changes no byte."""
    job = make_job(checkpoint_seconds=60.0)
    whole = expected(job, fork_server, undisturbed)
    job.valid_targets.with_name("test_targets.parquet").write_bytes(b"not a table")
    ends_whole(job, fork_server, whole)
