"""Environment variables to set before Prefect, MLflow or DVC are imported. Standard library only.

`prepare(workspace)` is called first by the command line and by whatever else starts a flow from a script.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.processes.environment import DEFAULTS

EPHEMERAL_STARTUP_SECONDS = 120
"""A Prefect server of its own takes 6 to 10 s to start here; Prefect gives up after 20 s by default."""


def prepare(workspace: Path) -> None:
    """Set defaults in `os.environ`: quiet, Prefect's store inside the workspace, this environment's programs first."""
    defaults = {
        **DEFAULTS,
        # Runs of `idiom retrain` and the server of `idiom ui` share one database: the workspace's own.
        "PREFECT_HOME": str(workspace.resolve() / ".prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(EPHEMERAL_STARTUP_SECONDS),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    os.environ["PATH"] = search_path()


def search_path() -> str:
    """PATH with the folder of this Python first: dvc.yaml says `python`, and must get the one that has everything."""
    here = str(Path(sys.executable).parent)
    rest = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part and part != here]
    return os.pathsep.join([here, *rest])
