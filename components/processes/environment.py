"""What a process of Idiom finds around it: switches, set before the libraries that read them, cores, code, parent.

Standard library only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

DEFAULTS = {
    # No package reports home, and tokenizers do not warn about forks.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
    # torch's threads spin while they wait for each other. Beside any other busy process that starves the one they wait
    # for: a cold start on Amazon Beauty made 1.0 batches/s so, and 6.5 with threads that sleep (docs/decisions.md).
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


def when_the_parent_ends(act: Callable[[], object]) -> None:
    """Call `act`, in a thread, when the process that holds the other end of standard input ends, even by `kill -9`.

    Nothing is ever written there. A process that ends before its parent is not held up.
    """

    def wait() -> None:
        # Not sys.stdin: a thread that waits in its buffer at the end of the process is a fatal error of Python's.
        os.read(0, 1)
        act()

    threading.Thread(target=wait, daemon=True).start()
