"""How the cost of an epoch grows with the data, and falls with the ranks: both phases, as `loop.train` runs them.

    python -m benchmarks.growth                                     # 1x, 2x, 4x the users; 1 and 2 ranks; on CPU
    python -m benchmarks.growth --size small --users 20000 --device cuda --ranks 1 2 4 8

Prints one JSON line. `growth_PHASE_Nx`: seconds at N times the users over N times the seconds at once the users (1.0 is
linear), one rank. `ratio_PHASE_N_ranks`: seconds of one rank over those of N, at the most users, each rank with as many
threads. The catalogue does not grow; nothing is validated or saved meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.machine import facts
from components.processes.signals import Stop
from components.progress import Progress
from components.settings.params import Index
from components.settings.train import GeneratorTraining, RecommenderTraining, Train
from components.textid.writing.imported import adopt
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints
from components.training.context import Context
from components.training.devices.ranks import Ranks, joined
from components.training.job import Job
from components.training.models.fresh import fresh_models, tokenizer_of
from components.training.packed import dataset
from components.training.phases.generator import GeneratorPhase
from components.training.phases.recommender import RecommenderPhase
from components.training.steps.loop import Optimisation, Phase, train_phase

ITEMS = 400
PHASES = ("recommender", "generator")


def main() -> None:
    """Make the tables, measure with each number of ranks in processes of their own, print one JSON line."""
    arguments = _arguments()
    if arguments.child:
        measure(Path(arguments.child))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments)
        found = {ranks: _with(folder, ranks) for ranks in arguments.ranks}
    settings = {key: value for key, value in vars(arguments).items() if key != "child"}
    print(json.dumps({"benchmark": "growth", **figures(found), "settings": settings, **facts()}))


def figures(found: dict[int, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Seconds, growth and ratios from {ranks: {phase: {times the users: seconds}}}."""
    result: dict[str, float] = {}
    for phase in PHASES:
        for ranks, seconds in found.items():
            result |= {f"seconds_{phase}_{times}x_{ranks}": round(s, 3) for times, s in seconds[phase].items()}
        one = found[min(found)][phase]
        small, large = min(one, key=int), max(one, key=int)
        for times in one:
            grown = int(times) / int(small)
            result[f"growth_{phase}_{times}x"] = round(one[times] / one[small] / grown, 3)
        for ranks in found:
            result[f"ratio_{phase}_{ranks}_ranks"] = round(one[large] / found[ranks][phase][large], 3)
    return result


def write(folder: Path, arguments: argparse.Namespace) -> None:
    """Tables and a job for each multiple of the users: {times}.json."""
    random = np.random.default_rng(17)
    words = ["".join(random.choice(list("abcdefghij"), size=6)) for _ in range(800)]
    ids = [f"i{number:06d}" for number in range(ITEMS)]
    texts = [" ".join(random.choice(words, size=12)) for _ in ids]
    pq.write_table(pa.table({"item_id": ids, "text": texts}), folder / "items.parquet")
    for times in arguments.times:
        users = [f"u{number:08d}" for number in range(arguments.users * times)]
        lengths = np.minimum(random.geometric(1 / 6, size=len(users)) + 1, 20)
        histories = [[ids[item] for item in random.integers(ITEMS, size=length)] for length in lengths]
        none = pa.array([[]], pa.list_(pa.string()))
        pq.write_table(pa.table({"user_id": users, "history": histories}), folder / f"histories_{times}.parquet")
        target = pa.table({"user_id": users[:1], "context": none, "target": ids[:1]})
        pq.write_table(target, folder / f"valid_targets_{times}.parquet")
        job(folder, times, arguments).save(folder / f"{times}.json")


def job(folder: Path, times: int, arguments: argparse.Namespace) -> Job:
    """One epoch of each phase over `times` the users."""
    return Job(
        items_clean=folder / "items.parquet",
        histories=folder / f"histories_{times}.parquet",
        valid_targets=folder / f"valid_targets_{times}.parquet",
        out=folder / "out",
        work=folder / f"work_{times}",
        train=Train(
            size=arguments.size,
            vocabulary_size=1000,
            device=arguments.device,
            family=arguments.family,
            generator=GeneratorTraining(samples=0, batch_size=16),
            recommender=RecommenderTraining(epochs=1, batch_size=64, prefixes="one"),
        ),
        index=Index(max_tokens=6),
        seed=17,
        train_key=f"growth-{times}",
    )


def _with(folder: Path, ranks: int) -> dict[str, dict[str, float]]:
    """Seconds by phase and multiple, measured by that many processes."""
    runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *runner, "-m", "benchmarks.growth", "--child", str(folder)]
    subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ}, check=True, stdout=sys.stderr)
    seconds: dict[str, dict[str, float]] = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    return seconds


def measure(folder: Path) -> None:
    """Seconds of an epoch of each phase on the tables of `folder`, as {phase: {times: seconds}} in seconds.json.

    The smallest data is run once beforehand: allocators and kernels are then warm.
    """
    jobs = {int(path.stem): Job.load(path) for path in folder.glob("[0-9]*.json")}
    order = sorted(jobs)
    seconds: dict[str, dict[str, float]] = {phase: {} for phase in PHASES}
    with joined(jobs[order[0]].train.device) as ranks:
        for times in [order[0], *order]:
            for phase in PHASES:
                seconds[phase][str(times)] = _epoch(jobs[times], phase, ranks)
        if ranks.first:
            (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def _epoch(job: Job, name: str, ranks: Ranks) -> float:
    tables = dataset.load(job)
    context = Context.build(job, tables, tokenizer_of(job, tables, ranks), ranks)
    state, recommender = fresh_models(context)
    ids = adopt({}, context.tokenizer, tables.item_ids, tables.texts, max_tokens=job.index.max_tokens)[0]
    phase: Phase
    if name == "generator":
        phase = GeneratorPhase(context, state.generator, recommender, ids, round=2)
    else:
        phase = RecommenderPhase(context, recommender, ids, round=1, after=lambda epoch, row: False)
    checkpointer = Checkpointer(state, Checkpoints(job.work, job.train_key), ranks, Stop(), seconds=float("inf"))
    how = Optimisation(seed=job.seed, weight_decay=0.01, grad_clip=1.0, warmup_share=0.05)
    ranks.wait()
    started = time.perf_counter()
    train_phase(phase, state, how, ranks, checkpointer, Progress())
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    ranks.wait()
    return time.perf_counter() - started


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="micro")
    parser.add_argument("--family", default="encoder-decoder", choices=["encoder-decoder", "decoder-only"])
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
