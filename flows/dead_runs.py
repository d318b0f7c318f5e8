"""Marks flow runs of this machine whose process was killed as Crashed: nobody else would, and they ran on for ever.

Called by a flow that holds the workspace, so no other run of its kind lives in it. Runs of a deployment are left alone:
their worker tells Prefect how they ended, and where the worker died too, an automation does (automations.py).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run
from prefect.states import Crashed, State

from flows.prefect_artifacts import warning

_GOING_ON = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_AT_A_TIME = 200
_HERE = ("127.0.0.1", "localhost", "::1")


def crash_dead_runs(flow: str, workspace: Path, *, but: UUID) -> list[str]:
    """Mark the runs of a flow in a workspace that go on, `but` one, as Crashed, with their tasks; returns their names.

    On a server of this machine only: elsewhere the same folder may be another machine's.
    """
    found = []
    with get_client(sync_client=True) as client:
        if urlsplit(str(client.api_url)).hostname not in _HERE:
            return []
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_GOING_ON))),
            limit=_AT_A_TIME,
        )
        for run in runs:
            if run.id == but or run.deployment_id or run.parameters.get("workspace") != str(workspace):
                continue
            crashed: State[None] = Crashed(message="its process was killed; marked by the next run in this workspace")
            tasks = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
                task_run_filter=TaskRunFilter(
                    state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[*_GOING_ON, StateType.SCHEDULED]))
                ),
            )
            for task in tasks:
                client.set_task_run_state(task.id, crashed, force=True)
            client.set_flow_run_state(run.id, crashed, force=True)
            found.append(run.name)
    return found


def tell_of_the_dead(flow: str, workspace: Path) -> None:
    """`crash_dead_runs` for a flow that runs in the workspace: says what it did; a server that refuses ends nothing."""
    logger = get_run_logger()
    with warning("does not know of runs that were killed", logger.warning):
        if names := crash_dead_runs(flow, workspace, but=UUID(str(flow_run.id))):
            logger.info(f"marked as Crashed, as their processes were killed: {', '.join(names)}")
