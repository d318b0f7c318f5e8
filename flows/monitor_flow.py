"""Drift on Prefect: the flow `monitor`, which measures the newest window and sends the event `idiom.drift` of a drift.

idiom monitor --prefect                         # what a person types
prefect deployment run monitor/...              # what a schedule does
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, Failed, State

from components.errors import StageError
from components.machine import refused_by_the_machine
from components.settings.file import load
from flows.monitor import monitor as run
from flows.retrain import checked
from flows.run_names import of_the_day


@flow(name="monitor", flow_run_name=of_the_day, persist_result=False, result_serializer="json")
def monitor(workspace: str = ".") -> State[Any]:
    """Compare the newest window of the data with what the champion was trained on. The state is *Drifted* or
    *Completed*; a drift is a finding, not a failure."""
    logger = get_run_logger()
    try:
        folder = checked(workspace)
        done = run(folder, load(folder / "params.yaml"), at=None, say=logger.info, warn=logger.warning)
    except Exception as error:
        said = error if isinstance(error, StageError) else refused_by_the_machine(error, Path(workspace).resolve())
        if said is None:
            raise
        logger.error(str(said))
        return Failed(name="BadInput", message=str(said))
    drifted = done.record.drifted
    for name in drifted:
        logger.warning(f"{name}: {done.record.measures[name]['said']}")
    message = f"drift: {', '.join(drifted)}" if drifted else "nothing has drifted"
    return Completed(name="Drifted" if drifted else "Completed", message=f"{message}; {done.page}")
