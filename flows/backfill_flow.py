"""Past windows on Prefect: the flow `backfill`, for a deployment that a person runs with a range of days.

prefect deployment run backfill/... --param first=2024-01-01 --param last=2024-06-30
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from components.errors import Interrupted, StageError
from components.settings.file import load
from flows.backfill import backfill as run
from flows.backfill import days_between
from flows.retrain import checked
from flows.run_names import of_the_day
from flows.when import moment


@flow(name="backfill", flow_run_name=of_the_day, persist_result=False, result_serializer="json")
def backfill(
    first: str, last: str, workspace: str = ".", every: int = 30, jobs: int = 1, dask: str | None = None
) -> State[Any]:
    """Train and evaluate as if it were each day from `first` to `last`, `every` so many days; what is done stays."""
    logger = get_run_logger()
    try:
        folder = checked(workspace)
        days = days_between(moment(first, "first").date(), moment(last, "last").date(), every)
        params = load(Path(folder) / "params.yaml")
        code = run(folder, params, days, every=every, jobs=jobs, dask=dask, say=logger.info)
    except StageError as error:
        logger.error(str(error))
        return Failed(name="BadInput", message=str(error))
    if code == Interrupted.exit_code:
        return Cancelled(name="Interrupted", message="the same run goes on from the checkpoints")
    message = f"{len(days)} windows from {days[0]} to {days[-1]}"
    return Completed(message=message) if code == 0 else Failed(message=f"{message}: some failed, see MLflow")
