"""Set up a process: environment variables before the libraries that read them; its cores, PYTHONPATH, parent.

Standard library only.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

DEFAULTS = {
    # No package reports home, and tokenizers do not warn about forks.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
    # torch's threads spin while they wait for each other; beside another busy process that starves the one they wait
    # for, and a training takes several times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def prepare() -> None:
    """Set each default that the environment does not have yet."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def cores() -> int:
    """CPU cores that this process may run on, which may be fewer than the machine has; macOS tells only the latter."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_path() -> str:
    """PYTHONPATH by which a process that this one starts finds this code, wherever it runs."""
    return os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])


def stop_with_the_parent() -> None:
    """Send SIGTERM to this process when the one that holds the other end of standard input ends, even by `kill -9`.

    Nothing is ever written there. A process that ends before its parent is not held up.
    """

    def wait() -> None:
        # Not sys.stdin: a thread that waits in its buffer at the end of the process is a fatal error of Python's.
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
