"""Work folders that a published training removes, and those that it must not touch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.training.job import Job
from components.training.key import DAYS, remove_abandoned
from tests.training.fork_server import ForkServer

OLD = time.time() - (DAYS + 1) * 86_400


def folder(path: Path, *, job: bool = True, written: float = OLD) -> Path:
    """A work folder with a checkpoint that was written at a time; all else in it is old."""
    checkpoint = path / "checkpoints" / "00000001" / "generator.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    if job:
        (path / "job.json").touch()
    for each in (*path.rglob("*"), path):
        os.utime(each, (OLD, OLD))
    os.utime(checkpoint, (written, written))
    return path


def test_only_trainings_that_stood_still_for_a_week_are_removed(tmp_path: Path) -> None:
    """Prevents checkpoints that pile up for ever; and the loss of one that another training, or a person, needs."""
    parent = tmp_path / "work" / "demo"
    gone = folder(parent / "0123456789abcdef")
    kept = [
        folder(parent / "aaaaaaaaaaaaaaaa"),  # its own
        folder(parent / "bbbbbbbbbbbbbbbb", written=time.time() - (DAYS - 1) * 86_400),
        folder(parent / "cccccccccccccccc", job=False),  # nobody knows what that is
        folder(parent / "index"),
        folder(tmp_path / "work" / "other" / "0123456789abcdef"),  # another dataset
    ]
    linked = folder(tmp_path / "elsewhere")
    (parent / "dddddddddddddddd").symlink_to(linked)
    said: list[str] = []
    remove_abandoned(parent / "aaaaaaaaaaaaaaaa", said.append)
    assert not gone.exists() and len(said) == 1 and str(gone) in said[0]
    assert all((each / "checkpoints" / "00000001").is_dir() for each in [*kept, linked])
    assert (parent / "dddddddddddddddd").is_symlink()


def test_only_a_published_pair_removes_them(make_job: Callable[..., Job], fork_server: ForkServer) -> None:
    """Prevents a training that fails, with settings that a person takes back, from clearing the way back."""
    job = make_job(rounds=1)
    job = replace(job, work=job.work / "aaaaaaaaaaaaaaaa")
    other = folder(job.work.parent / "0123456789abcdef")
    assert fork_server.run(job, IDIOM_CRASH="publish.start:raise")["code"] == 1
    assert other.is_dir()
    answer = fork_server.run(job)
    assert answer["code"] == 0, answer["error"]
    assert not other.exists() and job.work.is_dir()
