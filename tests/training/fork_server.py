"""A fork server for training jobs: each is a process of its own that does not import the libraries again.

As a script it imports the libraries, computes nothing, and forks for every line it reads: each job is a real process
with real signals and its own exit status, or several that are the ranks of one training. One line in:
{"job": path, "environment": {...}, "ranks": n}; one out: {"codes": exit statuses, "error": what they printed}. A status
below zero is the signal that killed it.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.training.job import Job


@dataclass
class ForkServer:
    """The side of the tests; the fixture `fork_server` starts the script."""

    process: Any

    def run(self, job: Job, *, ranks: int = 1, **environment: str) -> dict[str, Any]:
        """Exit status (`code`; `codes` of all ranks) and output (`error`) of the job."""
        path = job.work / "job.json"
        job.save(path)
        request = {"job": str(path), "environment": environment, "ranks": ranks}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer | {"code": next((code for code in answer["codes"] if code), 0)}


def child(job: str, environment: dict[str, str], output: int) -> None:
    """The job, as `python -m components.training JOB` runs it; never returns."""
    from components.training.__main__ import main

    os.environ.update(environment)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        limit(environment)
        if step := environment.get("TEST_STEP"):
            from tests.training.rank_step import write_gradients

            write_gradients(Job.load(Path(job)), Path(step), int(environment["TEST_MICRO_BATCH"]))
            code = 0
        elif out := environment.get("TEST_REINDEX"):
            from tests.training.rank_reindex import write_reindex

            write_reindex(Job.load(Path(job)), Path(out))
            code = 0
        else:
            code = main([own_work(job, environment)])
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


def own_work(job: str, environment: dict[str, str]) -> str:
    """The job's path or, where "rank:folder" says so for this rank, that of a copy with a work folder of its own."""
    rank, _, folder = environment.get("TEST_OTHER_WORK", "").partition(":")
    if not folder or environment["RANK"] != rank:
        return job
    path = Path(folder) / "job.json"
    replace(Job.load(Path(job)), work=Path(folder)).save(path)
    return str(path)


def limit(environment: dict[str, str]) -> None:
    """Take away disk or memory, as the environment says."""
    if size := environment.get("TEST_FILE_LIMIT"):
        # The nearest thing to a full disk that needs no mount: no file may grow beyond this (EFBIG instead of ENOSPC).
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
    if mebibytes := environment.get("TEST_MEMORY_MIB"):
        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = has + int(mebibytes) * 2**20
        _without_onednn()  # it keeps memory of its own for every kernel that it makes, and needs some for the next
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if rows := environment.get("TEST_MEMORY_ROWS"):  # "rank:rows": more of them are too many for that rank
        rank, most = map(int, rows.split(":"))
        if environment["RANK"] == str(rank):
            _no_memory_beyond(most)


def _without_onednn() -> None:
    import torch

    torch.backends.mkldnn.set_flags(False)


def _no_memory_beyond(rows: int) -> None:
    import torch

    from components.recommender.loss.batch_loss import batch_loss
    from components.training.phases import generator, recommender

    def loss(model: Any, batch: Any, **settings: Any) -> Any:
        if len(batch.input_ids) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return batch_loss(model, batch, **settings)

    recommender.batch_loss = generator.batch_loss = loss


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve() -> None:
    """Fork for each line of standard input until it ends."""
    import torch

    import components.training.run  # noqa: F401  (imported once, here, for all jobs)

    torch.set_num_threads(1)
    for line in sys.stdin:
        request, children = json.loads(line), []
        ranks = request["ranks"]
        group = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        with tempfile.TemporaryFile() as output:
            for rank in range(ranks):
                own = group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
                pid = os.fork()
                if pid == 0:
                    child(request["job"], {**own, **request["environment"]}, output.fileno())
                children.append(pid)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
            output.seek(0)
            text = output.read().decode(errors="replace")
        print(json.dumps({"codes": codes, "error": text}), flush=True)


if __name__ == "__main__":
    serve()
    os._exit(0)  # nothing to tidy up, and torch takes seconds for it
