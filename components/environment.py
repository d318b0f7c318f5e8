"""What a process of Idiom finds in its environment: switches, set before the libraries that read them, and cores.

Standard library only.
"""

from __future__ import annotations

import os

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
