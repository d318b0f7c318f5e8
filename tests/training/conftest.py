"""Micro models, tables and jobs for the tests of the training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from components.settings.params import Index
from components.settings.train import GeneratorTraining, RecommenderTraining, Train
from components.training.job import Job
from tests.training.fork_server import ForkServer

KINDS = ["soap", "towel", "brush", "lemon", "cream", "honey"]
COLOURS = ["black", "white", "green", "blue"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two processes that compete for the cores slow torch tenfold; these models are tiny."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fork_server(repository: Path) -> Iterator[ForkServer]:
    """Runs jobs in processes that are forked from one that has imported everything (fork_server.py)."""
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=repository
    ) as process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def make_t5() -> Callable[..., Any]:
    """`make_t5(vocabulary, seed)`: a random two-layer T5 in float64, without dropout, whose scores differ clearly.

    Its output layer is its own: with tied embeddings an untrained model repeats the token it has just written.
    """

    def make(vocabulary: int, seed: int) -> Any:
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=vocabulary,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            tie_word_embeddings=False,
        )
        model = T5ForConditionalGeneration(config).double().eval()
        torch.nn.init.normal_(model.lm_head.weight)
        return model

    return make


def write_tables(folder: Path, users: int = 14) -> None:
    """24 items, and users who walk through the colours of one kind of thing: the next item has a reason."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [f"{kind[0]}{number}{kind}" for kind in KINDS for number in range(4)]
    texts = [
        f"title: {COLOURS[number]} {kind} number {number} of the {kind} series" for kind in KINDS for number in range(4)
    ]
    rows = sorted(zip(items, texts, strict=True))
    pq.write_table(pa.table({"item_id": [r[0] for r in rows], "text": [r[1] for r in rows]}), folder / "items.parquet")
    histories, targets = [], []
    for user in range(users):
        kind, start = KINDS[user % len(KINDS)], user % 4
        walk = [f"{kind[0]}{(start + step) % 4}{kind}" for step in range(4)]
        histories.append(walk[: 3 - user % 2])
        targets.append(walk[3 - user % 2])
    names = [f"u{user:03d}" for user in range(users)]
    pq.write_table(pa.table({"user_id": names, "history": histories}), folder / "histories.parquet")
    contexts = pa.array([[] for _ in names], pa.list_(pa.string()))
    pq.write_table(
        pa.table({"user_id": names, "context": contexts, "target": targets}), folder / "valid_targets.parquet"
    )


def micro(**changes: Any) -> Train:
    """The smallest training that has every phase: two rounds, a few steps each."""
    settings: dict[str, Any] = {
        "size": "d_model=16,layers=1,heads=2,d_ff=32",
        "vocabulary_size": 256,
        "max_item_tokens": 16,
        "device": "cpu",
        "generator": GeneratorTraining(cold_start_steps=12, batch_size=2, samples=6, max_history=2),
        "recommender": RecommenderTraining(epochs=2, batch_size=8, valid_users=8, valid_beams=5),
    }
    return Train(**{**settings, **changes})


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job(name="a", **train settings)`: a job with its own work and output folders on the shared micro tables."""
    write_tables(tmp_path / "tables")

    def make(name: str = "a", *, seed: int = 3, index: Index | None = None, **changes: Any) -> Job:
        tables = tmp_path / "tables"
        return Job(
            items_clean=tables / "items.parquet",
            histories=tables / "histories.parquet",
            valid_targets=tables / "valid_targets.parquet",
            out=tmp_path / name / "pair",
            work=tmp_path / name / "work",
            train=micro(**changes),
            index=index or Index(max_tokens=6, candidates=4, groups=2),
            seed=seed,
            train_key="k" * 64,
        )

    return make
