"""A job on several processes, under torchrun, here and perhaps on more nodes; progress and errors come back.

run_ranks("components.training", job, ranks=2, progress=progress)       # the caller's side
sys.exit(run_job(Path(sys.argv[1]), Job.load, train))                   # a rank's side, or a process alone
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from components.errors import Interrupted, StageError
from components.processes.environment import cores, python_path
from components.progress import ConsoleBar, Follower, JsonLines, Progress, Sink, reporting
from components.storage.artifacts import publish_json, read_json
from components.training.processes.nodes import Nodes
from components.training.processes.stop import Stop

PROGRESS = "progress.jsonl"
FAILURE = "failure.json"
FOLLOWED = "IDIOM_FOLLOWED"
"""Environment variable: somebody reads the first rank's progress file and shows it."""
HERE = Nodes()
_TO_SAVE = "600"
"""Seconds that ranks have after a SIGTERM before torchrun kills them (its own default is 30): a validation may have to
end first, and a large checkpoint takes long on a slow disk. Older versions of PyTorch do not read it."""


class Saved(Protocol):
    """A job that another process can read from a file."""

    @property
    def work(self) -> Path: ...

    def save(self, path: Path) -> None: ...


J = TypeVar("J", bound=Saved)


def run_ranks(module: str, job: Saved, *, ranks: int, progress: Progress, nodes: Nodes = HERE) -> None:
    """Run `python -m module JOB.json` under torchrun and pass its progress on; raises what the ranks raised.

    `ranks` is per node. With several nodes this is called on each: no rank starts before all of them are there.
    """
    path = job.work / ("job.json" if nodes.first else f"job-{nodes.rank}.json")
    job.save(path)
    # No rank of any node runs yet, so nothing of this run is lost, whichever node comes last.
    for name in (PROGRESS, FAILURE):
        (job.work / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", *nodes.torchrun(), f"--nproc-per-node={ranks}"]
    command += ["-m", module, str(path)]
    threads = str(max(1, cores() // ranks))
    defaults = {"OMP_NUM_THREADS": threads, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": _TO_SAVE}
    environment = {**defaults, FOLLOWED: "1", **os.environ, "PYTHONPATH": python_path()}
    with Stop().listening() as stop, subprocess.Popen(command, env=environment) as process:
        follower = Follower(job.work / PROGRESS)
        told = False
        while process.poll() is None:
            if stop.requested and not told:
                process.send_signal(signal.SIGTERM)
                told = True
            _pass_on(follower.new(), progress)
            time.sleep(0.2)
        _pass_on(follower.new(), progress)
    if process.returncode:
        raise _failure(job, process.returncode, stop)


def run_job(path: Path, load: Callable[[Path], J], act: Callable[[J, Progress], Any]) -> int:
    """Load a job, do it with its progress shown or noted, and return the exit code: of one rank, or of all there is."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    job: J | None = None
    try:
        job = load(path)
        first = os.environ.get("RANK", "0") == "0"
        # Started by `run_ranks`, whoever called it shows the bar: it follows the first rank's file.
        sinks: list[Sink] = [JsonLines(job.work / PROGRESS)] if first and several else []
        sinks += [ConsoleBar()] if first and FOLLOWED not in os.environ else []
        with reporting(*sinks) as progress:
            act(job, progress)
    except StageError as error:
        if several and job is not None:
            publish_json(job.work / FAILURE, error.facts())  # torchrun ends with 1 whatever its ranks end with
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


def _failure(job: Saved, code: int, stop: Stop) -> StageError:
    if (job.work / FAILURE).exists():
        return StageError.from_facts(read_json(job.work / FAILURE))
    if stop.requested:
        # Ranks that save say so in the file above; these were ended without a word, as those of `index` are.
        mend = "run the same command again: it goes on from what was saved before, if anything was"
        return Interrupted(f"stopped by {stop.signal}", where=str(job.work), mend=mend)
    return StageError(
        f"a rank died, or a node did not come (torchrun ended with {code})",
        where=str(job.work),
        mend="the error stands above, or in the output of another node; the same command, on every node, goes on from "
        "the last checkpoint",
    )
