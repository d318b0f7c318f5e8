"""Runs training jobs in processes of their own, without paying seven seconds of imports for each.

It imports the libraries, computes nothing, and forks for every line it reads: each job is a real process with real
signals and its own exit status. One line in: {"job": path, "environment": {...}}; one out: {"code": exit
status, "error": what it printed}. A status below zero is the signal that killed it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile

import torch

import components.training.run  # noqa: F401  (imported once, here, for all jobs)
from components.training.__main__ import main

torch.set_num_threads(1)


def child(job: str, environment: dict[str, str], output: int) -> None:
    """The job, as `python -m components.training JOB` runs it; never returns."""
    os.environ.update(environment)
    if "TEST_FILE_LIMIT" in environment:
        # The nearest thing to a full disk that needs no mount: no file may grow beyond this (EFBIG instead of ENOSPC).
        limit = int(environment["TEST_FILE_LIMIT"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        code = main([job])
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    request = json.loads(line)
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            child(request["job"], request["environment"], output.fileno())
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        text = output.read().decode(errors="replace")
    print(json.dumps({"code": os.waitstatus_to_exitcode(status), "error": text}), flush=True)
