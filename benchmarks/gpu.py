"""Quality on a GPU, in pieces: train, write the IDs, decode the test users once; a call goes on where the last ended.

    python -m benchmarks.gpu params/gpu-amazon-beauty.yaml --tables artifacts/amazon-beauty/clean --seconds 540
    python -m benchmarks.gpu params.yaml --tables artifacts/demo/clean --device cpu    # the demo

Needs no more than a bare GPU machine has: the learning rooms' libraries, PyYAML, and the four tables that the stage
`clean` wrote elsewhere (carry the folder there). Prints one JSON line, `done` or what is next; exit code 0 either way.
The test targets are opened by the last piece, after the training has ended, in a process that trains nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.machine import facts
from components.evaluation.contenders import VARIANTS
from components.evaluation.metrics import per_user, ranks
from components.settings.params import Evaluate, Index
from components.settings.train import Train
from components.storage.artifacts import publish_json, read_json
from components.storage.job import from_json
from components.storage.manifest import digest, sha256
from components.training.job import Job

TABLES = ("items_clean.parquet", "histories.parquet", "valid_targets.parquet")
"""What a training may look at."""
_STOPPED = (130, -signal.SIGTERM)
"""Exit codes of a training that was stopped: its checkpoint saved, or before it had begun."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is next until the time is up; print one JSON line."""
    asked = _arguments(arguments)
    until = time.monotonic() + asked.seconds
    preset = _preset(asked.preset)
    job, evaluate = _job(preset, asked), Evaluate(**preset.get("evaluate", {}))
    said = {"benchmark": "gpu", "preset": asked.preset.name, "done": False}
    spent = job.work / "seconds.json"
    if not (job.out / "manifest.json").exists():
        said |= {"next": "train", **_train_piece(job, until, spent)}
    if (job.out / "manifest.json").exists():
        figures = job.work.parent / f"{job.train_key[:16]}-figures.json"
        if not figures.exists():
            publish_json(figures, _figures(job, evaluate, asked.tables))
        said |= {"done": True, "next": None, **read_json(figures)}
        said["train_seconds"] = read_json(spent)["train"] if spent.exists() else None
    print(json.dumps({**said, **facts()}))


def _train_piece(job: Job, until: float, spent: Path) -> dict[str, Any]:
    """Train in a process of its own until it is done or the time is up, when SIGTERM has it save a checkpoint."""
    job.work.mkdir(parents=True, exist_ok=True)
    job.save(job.work / "gpu-job.json")
    started = time.monotonic()
    command = [sys.executable, "-m", "components.training", str(job.work / "gpu-job.json")]
    standard_error = 2  # standard output is for the JSON line
    with subprocess.Popen(command, stdout=standard_error) as process:
        try:
            code = process.wait(timeout=max(0.0, until - started))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            code = process.wait()
    before = read_json(spent)["train"] if spent.exists() else 0.0
    publish_json(spent, {"train": round(before + time.monotonic() - started, 1)})
    if code not in (0, *_STOPPED):
        raise SystemExit(code)
    return {"piece_seconds": round(time.monotonic() - started, 1)}


def _figures(job: Job, settings: Evaluate, tables: Path) -> dict[str, Any]:
    """Recall and NDCG of the pair on all test users, masked and unmasked; users/s of the decoding."""
    from components.recommender.engine import Engine

    engine = Engine.load(job.out, device=job.train.device)
    histories = _rows(tables / "histories.parquet", ["user_id", "history"])
    test = _rows(tables / "test_targets.parquet", ["user_id", "context", "target"])
    known = dict(zip(histories["user_id"], histories["history"], strict=True))
    prompts = [known[user] + list(context) for user, context in zip(test["user_id"], test["context"], strict=True)]
    number = {item: place for place, item in enumerate(sorted(set(_rows(tables / TABLES[0], ["item_id"])["item_id"])))}
    targets = np.array([number[target] for target in test["target"]])
    depth = max(settings.ks)
    pair = read_json(job.out / "pair.json")
    found: dict[str, Any] = {
        "users": len(prompts),
        "validation": {name: pair[name] for name in ("round", "epoch", "steps")},
    }
    for variant in VARIANTS:
        started = time.monotonic()
        answers = engine.recommend(prompts, depth, replace(settings, mask_seen=variant == "masked"))
        lists = np.full((len(prompts), depth), -1)
        for row, answer in enumerate(answers):
            lists[row, : len(answer)] = [number[each.item_id] for each in answer]
        means = per_user(ranks(lists, targets), settings.ks)
        found[variant] = {name: round(float(values.mean()), 5) for name, values in means.items()}
        found[f"users_per_s_{variant}"] = round(len(prompts) / (time.monotonic() - started), 1)
    return found


def _job(preset: dict[str, Any], asked: argparse.Namespace) -> Job:
    """The training that a preset describes, in a folder named by the hash of all that decides it."""
    train = replace(from_json(Train, preset["train"]), device=asked.device)
    index, seed = Index(**preset.get("index", {})), asked.seed if asked.seed is not None else preset["seed"]
    inputs = {name: sha256(asked.tables / name) for name in TABLES}
    key = digest({"inputs": inputs, "train": repr(train), "index": repr(index), "seed": seed})
    return Job(
        items_clean=asked.tables / TABLES[0],
        histories=asked.tables / TABLES[1],
        valid_targets=asked.tables / TABLES[2],
        out=asked.work / key[:16] / "pair",
        work=asked.work / key[:16],
        train=train,
        index=index,
        seed=seed,
        train_key=key,
    )


def _preset(path: Path) -> dict[str, Any]:
    """A params file, read without pydantic, which a bare GPU machine has not."""
    import yaml

    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _rows(path: Path, columns: list[str]) -> dict[str, list[Any]]:
    return pq.read_table(path, columns=columns).to_pydict()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="params file: its `train`, `index`, `evaluate` and `seed` are used")
    parser.add_argument("--tables", type=Path, required=True, help="folder that the stage `clean` wrote")
    parser.add_argument("--work", type=Path, default=Path("work/gpu"), help="checkpoints, pairs and figures")
    parser.add_argument("--seconds", type=float, default=540.0, help="a piece's training ends after so many")
    parser.add_argument("--seed", type=int, help="instead of the preset's")
    parser.add_argument("--device", default=os.environ.get("IDIOM_DEVICE", "auto"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
