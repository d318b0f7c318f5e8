"""Run a module as several processes under torchrun, on one machine or more; progress and errors come back.

    run_ranks("components.training", job, ranks=2, progress=progress)           # the caller's side
    run_job(path.parent, lambda progress: train(Job.load(path), progress))      # a rank's side, or a process alone

Ranks write into one folder: the first its progress (progress.jsonl), one that fails its error (failure.json). They end
when their caller ends, even by `kill -9`: as if SIGTERM had come.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from components.console import Console
from components.errors import Interrupted, StageError
from components.processes.child import Child
from components.processes.environment import cores, python_path, stop_with_the_parent
from components.processes.nodes import Nodes
from components.processes.signals import Stop
from components.progress import Follower, JsonLines, Progress, Sink, reporting
from components.storage.artifacts import publish_json, read_json

PROGRESS = "progress.jsonl"
FAILURE = "failure.json"
FOLLOWED = "IDIOM_FOLLOWED"
"""Environment variable of ranks whose caller shows the first one's progress, and holds the other end of their standard
input."""
ONE_NODE = Nodes()
_TICK_SECONDS = 0.2
_TO_SAVE = "600"
"""Seconds that ranks have after a SIGTERM before torchrun kills them (its own default is 30): a validation may have to
end first, and a large checkpoint takes long on a slow disk. Older versions of PyTorch do not read it."""


class SavedJob(Protocol):
    """A job that another process can read from a file (components/storage/job.py)."""

    @property
    def work(self) -> Path: ...

    def save(self, path: Path) -> None: ...


def run_ranks(module: str, job: SavedJob, *, ranks: int, progress: Progress, nodes: Nodes = ONE_NODE) -> None:
    """Run `python -m module JOB.json` under torchrun and pass its progress on; raises what the ranks raised.

    `ranks` is per node. With several nodes this is called on each: no rank starts before all of them are there.
    """
    path = job.work / ("job.json" if nodes.first else f"job-{nodes.rank}.json")
    job.save(path)
    with Stop(give_back_sigint=True).listening() as stop:
        for events in torchrun(module, [str(path)], folder=job.work, ranks=ranks, nodes=nodes, stop=stop):
            _pass_on(events, progress)


def torchrun(
    module: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    ranks: int,
    threads: int = 0,
    nodes: Nodes = ONE_NODE,
    stop: Stop | None = None,
) -> Generator[list[dict[str, Any]]]:
    """Run `python -m module ARGUMENTS` as `ranks` processes; yield the first one's new events, a few times a second.

    threads: of each, where the environment does not say (0: the cores shared out). A stop is handed on once, as
    SIGTERM, and their end is waited for; whoever leaves the loop kills them. Raises `StageError` as a rank left it in
    `folder`, or of its own, and `Interrupted` where ranks were stopped without a word.
    """
    # No rank of any node runs yet, so nothing of this run is lost, whichever node comes last.
    for name in (PROGRESS, FAILURE):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", *nodes.torchrun(), f"--nproc-per-node={ranks}"]
    command += ["-m", module, *arguments]
    threads = threads or max(1, cores() // ranks)
    defaults = {"OMP_NUM_THREADS": str(threads), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": _TO_SAVE}
    environment = {**defaults, **os.environ, FOLLOWED: "1", "PYTHONPATH": python_path()}
    follower = Follower(folder / PROGRESS)
    child = Child(command, environment=environment, tied=True)
    try:
        while child.code is None:
            if stop is not None and stop.requested and not child.signalled:
                child.send(signal.SIGTERM, group=False)
            yield follower.new()
            time.sleep(_TICK_SECONDS)
        yield follower.new()
    finally:
        child.kill()
    if code := child.wait():
        raise failure(folder, code, stop)


def failure(folder: Path, code: int, stop: Stop | None = None) -> StageError:
    """The error of ranks that ended badly; torchrun ends with 1 whatever its ranks end with."""
    if (folder / FAILURE).exists():
        return StageError.from_facts(read_json(folder / FAILURE))
    if stop is not None and stop.requested:
        # Ranks that save say so in the file above; these were ended without a word, as those of `index` are.
        mend = "run the same command again: it goes on from what was saved before, if anything was"
        return Interrupted(f"stopped by {stop.signal}", where=str(folder), mend=mend)
    return StageError(
        f"a rank died, or a node did not come (torchrun ended with {code})",
        where=str(folder),
        mend="the error stands above, or in the output of another node; the same command, on every node, goes on from "
        "what was saved",
    )


def run_job(folder: Path, act: Callable[[Progress], Any]) -> int:
    """Do a job and return the exit code: in a process alone, or as one rank of those that share `folder`."""
    environment = os.environ
    is_rank, first, followed = "WORLD_SIZE" in environment, environment.get("RANK", "0") == "0", FOLLOWED in environment
    if followed:
        stop_with_the_parent()
    try:
        sinks: list[Sink] = [JsonLines(folder / PROGRESS)] if first and is_rank else []
        sinks += [Console()] if first and not followed else []
        with reporting(*sinks) as progress:
            act(progress)
    except StageError as error:
        if is_rank:
            publish_json(folder / FAILURE, error.facts())
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _pass_on(events: Iterable[Mapping[str, Any]], progress: Progress) -> None:
    """Report what a rank reported."""
    for event in events:
        if event["event"] == "progress":
            progress.advance(event["task"], event["done"], event["total"], force=event["done"] == event["total"])
        elif event["event"] == "metrics":
            progress.metrics(event["values"], step=event["step"])
        else:
            fields = {name: value for name, value in event.items() if name not in ("event", "time", "text")}
            progress.note(event["text"], **fields)
