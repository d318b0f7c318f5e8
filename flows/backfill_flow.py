"""The backfill on Prefect: `idiom backfill` over a range of past days, asked for by a person.

    prefect deployment run backfill/backfill --param first=2024-01-01 --param last=2024-06-30 --param every=30

It runs in a process of its own; what is done is not done again, so a run that was stopped is asked for once more.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from components.errors import StageError
from components.processes.child import running
from flows.repro import EXIT_CODES
from flows.retrain import checked
from flows.run_names import of_the_day

_ROOT = Path(__file__).resolve().parents[1]
_KEPT_LINES = 20


def command(workspace: Path, first: str, last: str, every: int, jobs: int, dask: str | None) -> list[str]:
    """What runs."""
    words = [sys.executable, "-m", "flows.cli", "backfill", "--from", first, "--to", last, "--every", str(every)]
    words += ["--jobs", str(jobs), "--workspace", str(workspace)]
    return [*words, "--dask", dask] if dask else words


@flow(name="backfill", flow_run_name=of_the_day, persist_result=False, result_serializer="json")
def backfill(
    first: str, last: str, every: int = 30, jobs: int = 1, dask: str | None = None, workspace: str = "."
) -> State[Any]:
    """Train and evaluate as if it were each of several past days.

    first, last: ISO dates. every: days from one window to the next. jobs: windows at a time. dask: address of a
    scheduler whose workers see the workspace. Nothing is registered.
    """
    logger = get_run_logger()
    try:
        folder = checked(workspace)
    except StageError as error:
        logger.error(str(error))
        return Failed(name="BadInput", message=str(error))
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with running(command(folder, first, last, every, jobs, dask), cwd=_ROOT, output="pipe") as child:
        for line in child.lines():
            if line:
                lines.append(line)
                logger.info(line)
    code, said = child.wait(), "\n".join(lines)
    if code == 0:
        return Completed(message=said)
    if code in (EXIT_CODES["Interrupted"], -2, -15):
        return Cancelled(name="Interrupted", message=said)
    name = next((name for name, each in EXIT_CODES.items() if each == code), "Failed")
    return Failed(name=name, message=said)
