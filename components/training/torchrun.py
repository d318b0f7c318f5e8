"""A training on several processes of this machine, under torchrun; progress and errors come back to the caller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from components.artifacts import publish_json, read_json
from components.errors import BadInput, GateRefused, Interrupted, StageError
from components.progress import Progress
from components.training.job import Job
from components.training.stop import Stop

PROGRESS = "progress.jsonl"
FAILURE = "failure.json"


def run_ranks(job: Job, progress: Progress) -> dict[str, Any]:
    """Run `job` under torchrun, pass its progress on, return what `pair.json` says; raises what the ranks raised."""
    path = job.work / "job.json"
    job.save(path)
    for name in (PROGRESS, FAILURE):
        (job.work / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={job.train.ranks}"]
    command += ["-m", "components.training", str(path)]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // job.train.ranks)), **os.environ}
    root = Path(__file__).resolve().parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [environment.get("PYTHONPATH")])])
    with Stop().listening() as stop, subprocess.Popen(command, env=environment) as process:
        follower = _Follower(job.work / PROGRESS, progress)
        told = False
        while process.poll() is None:
            if stop.requested and not told:
                process.send_signal(signal.SIGTERM)
                told = True
            follower.read()
            time.sleep(0.2)
        follower.read()
    if process.returncode:
        raise _failure(job, process.returncode, stop)
    return dict(read_json(job.out / "pair.json"))


class _Follower:
    """Passes on what another process appends to a progress file."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress, self._at = path, progress, 0

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._at)
            for line in stream:
                if not line.endswith(b"\n"):  # half a line: it is read when it is whole
                    break
                self._at += len(line)
                self._pass_on(json.loads(line))

    def _pass_on(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            self._progress.advance(event["task"], event["done"], event["total"], force=event["done"] == event["total"])
        elif event["event"] == "metrics":
            self._progress.metrics(event["values"], step=event["step"])
        else:
            self._progress.note(event["text"])


def note_failure(job: Job, error: StageError) -> None:
    """Leave an error where `run_ranks` finds it: torchrun ends with 1 whatever its ranks end with."""
    facts = {"what": error.what, "where": error.where, "mend": error.mend, "exit_code": error.exit_code}
    publish_json(job.work / FAILURE, facts)


def _failure(job: Job, code: int, stop: Stop) -> StageError:
    if (job.work / FAILURE).exists():
        facts = read_json(job.work / FAILURE)
        kinds = {kind.exit_code: kind for kind in (BadInput, GateRefused, Interrupted)}
        return kinds[facts.pop("exit_code")](**facts)
    if stop.requested:
        return stop.error()
    return StageError(
        f"a rank died (torchrun ended with {code})",
        where=str(job.work),
        mend="its error stands above; the same command goes on from the last checkpoint",
    )
