"""A scoring of 160 users in 40 shards, and what the tests of all teams do with it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.progress import Progress
from components.scoring.score import score_shard
from components.scoring.settings import Scoring
from components.scoring.shards import pending, prepare, publish
from tests.recommender.pairs import WORDS

USERS = 160


def histories() -> dict[str, list[str]]:
    """Users in no order, with histories of every kind: empty, unknown, repeating, longer than the prompt."""
    draw = random.Random(5)
    known = [draw.choices([*WORDS, "gone"], k=draw.randrange(6)) for _ in range(USERS - 3)]
    return {f"u{draw.random():.12f}": history for history in [[], ["gone"], ["B1", "B1", "B2"], *known]}


def score_here(scoring: Scoring) -> Path:
    """The obvious way: every shard in this process, one after the other."""
    folder = prepare(scoring, Progress())
    for number in pending(folder, print):
        score_shard(folder, number)
    publish(folder)
    return scoring.out


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def rows(directory: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(directory.glob("part-*.parquet")) for row in pq.read_table(file).to_pylist()]


def start(scoring: Scoring, *arguments: str, **more: str) -> subprocess.Popen[str]:
    path = scoring.out.parent / "scoring.json"
    scoring.save(path)
    command = [sys.executable, "-m", "components.scoring", str(path), *arguments]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, **more}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(scoring: Scoring) -> dict[int, int]:
    """Shard -> inode of its rows, of the shards that are whole now."""
    found = scoring.folder.glob("shards/[0-9]*/scores.parquet")
    return {int(path.parent.name): path.stat().st_ino for path in found}


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 600  # a ceiling: a machine that is busy with other things may take minutes to import torch
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0] if process else ""
        assert time.monotonic() < end
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    """Processes that score (the resource tracker of multiprocessing is a child too)."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
