"""The last task of a retraining: `dvc push` to the default remote, tried again where the remote does not answer.

What is here stays as it is, whatever the remote does; DVC sends only what the remote lacks, so a later push mends a
failed one.
"""

from __future__ import annotations

import subprocess
from collections import deque
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State

from components.processes.child import running
from flows.repro import dvc_environment

_RETRY_SECONDS = [10.0, 60.0, 300.0]
_KEPT_LINES = 8


@task(
    task_run_name="push",
    retries=len(_RETRY_SECONDS),
    retry_delay_seconds=_RETRY_SECONDS,
    cache_policy=NO_CACHE,
    persist_result=False,
    result_serializer="json",
)
def push_outputs(workspace: str) -> State[Any]:
    """Push what dvc.lock names to the default remote; *Skipped* where there is none, *NotPushed* where it fails."""
    logger, folder = get_run_logger(), Path(workspace)
    remote = default_remote(folder)
    if remote is None:
        return Completed(
            name="Skipped", message="DVC has no default remote (dvc remote add --default): nothing is pushed"
        )
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with running(["dvc", "push"], cwd=folder, environment=dvc_environment(), output="pipe") as child:
        for line in child.lines():
            if line:
                lines.append(line)
    if child.wait() == 0:
        return Completed(message=f"{remote}: {lines[-1] if lines else 'pushed'}")
    said = "\n".join(lines)
    message = (
        f"push: the remote {remote!r} did not take the data\n  where: {said}\n"
        "  mend:  the data, the model and its registration are here and sound; when the remote answers: dvc push"
    )
    logger.error(message)
    return Failed(name="NotPushed", message=message)


def default_remote(workspace: Path) -> str | None:
    """Name of DVC's default remote; None where none is set."""
    asked = subprocess.run(
        ["dvc", "config", "core.remote"], cwd=workspace, env=dvc_environment(), capture_output=True, text=True
    )
    return asked.stdout.strip() or None if asked.returncode == 0 else None
