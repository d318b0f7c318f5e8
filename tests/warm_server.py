"""A fork server for stages and ranks: `python -m MODULE` without its imports, eight seconds of CPU for each process.

As a script, `warm_server.py SOCKET` imports the libraries, computes nothing, and forks for every request of
tests/warm/sitecustomize.py: each module runs in a process of its own, with the asker's directory, environment, standard
streams, signals and exit status. What a process imports itself, and from where, needs a test with a real interpreter.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("warm")


@contextmanager
def started(address: Path, repository: Path) -> Iterator[dict[str, str]]:
    """Start one; gives the environment of programs whose stages and ranks it is to run."""
    path = os.pathsep.join(filter(None, [str(repository), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, str(address)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # read at import
    with subprocess.Popen(command, env=environment, cwd=repository) as process:
        while not address.exists():
            assert process.poll() is None, "the server has died"
            time.sleep(0.05)
        yield {"PYTHONPATH": os.pathsep.join([str(FOLDER), path]), "TEST_WARM_SERVER": str(address)}
        process.kill()


def serve(address: str) -> None:
    """Answer requests until this process is killed."""
    import great_expectations  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import mlflow.pyfunc  # noqa: F401

    import components.evaluation.evaluate
    import components.recommender.engine
    import components.registry.register
    import components.training.run  # noqa: F401

    assert threading.active_count() == 1, "a fork would lose the other threads"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.starting")
        listening.listen()
        Path(f"{address}.starting").rename(address)
        while True:
            asker, _ = listening.accept()
            with suppress(ChildProcessError):  # those that have ended since
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if os.fork() == 0:
                listening.close()
                watch(asker)
            asker.close()


def watch(asker: socket.socket) -> None:
    """Fork the module's process, tell the asker its id and exit status, kill it if the asker ends. Never returns."""
    _, output, _, _ = socket.recv_fds(asker, 1, 3)
    stream = asker.makefile("rw")
    request = json.loads(stream.readline())
    child = os.fork()
    if child == 0:
        asker.close()
        run(request, output)
    with suppress(OSError):
        print(child, file=stream, flush=True)
    ended = 0
    while not ended:
        if select.select([asker], [], [], 0.05)[0]:  # it never says more: it is gone
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
    with suppress(OSError):
        print(os.waitstatus_to_exitcode(status), file=stream, flush=True)
    os._exit(0)


def run(request: dict[str, Any], output: list[int]) -> None:
    """Run the module as the asker's own Python would. Never returns."""
    for number, descriptor in enumerate(output):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [request["module"], *request["arguments"]]
    code: Any = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
