"""The step of the flow after `register`: a new challenger is judged by the rules, and by a person where that is asked.

An alias is no artifact, so this is no stage of dvc.yaml. It runs `idiom promote` in a process of its own, as it loads
both models; a version is judged once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed, State

from components.errors import StageError
from components.processes.child import running
from components.settings.params import Params
from flows.prefect_artifacts import publish_decision


class Approval(RunInput):
    """What a reviewer fills in, in Prefect's page of the waiting run."""

    approve: bool = False
    reviewer: str = ""


_ROOT = Path(__file__).resolve().parents[1]


def command(workspace: str, version: str, more: Sequence[str]) -> list[str]:
    """What judges."""
    return [sys.executable, "-m", "flows.cli", "promote", version, "--workspace", workspace, *more]


@task(task_run_name="promote", cache_policy=NO_CACHE, persist_result=False, result_serializer="json")
def judge(workspace: str, version: str, more: list[str]) -> State[Any]:
    """`idiom promote VERSION` there; the message of the state is what it said first."""
    logger, lines = get_run_logger(), []
    with running(command(workspace, version, more), cwd=_ROOT, output="pipe") as child:
        for line in child.lines():
            if line:
                lines.append(line)
                logger.info(line)
    if child.wait():
        return Failed(name="Failed", message="\n".join(lines[-5:]))
    # A warning of MLflow may come before the decision, which is what the run is to be known by.
    begins = next((at for at, line in enumerate(lines) if line.startswith(f"version {version} ")), 0)
    lines = [*lines[begins:], *lines[:begins]]
    return Completed(name="Promoted" if " is promoted" in lines[0] else "Judged", message="\n".join(lines))


def decide(folder: Path, params: Params) -> str | None:
    """Judge a challenger on which nobody has decided; what came of it in a sentence, None where there is none.

    A judgement that fails leaves the champion and the challenger as they are; it is told, and the next run tries again.
    """
    from flows.promote import undecided

    try:
        version = undecided(folder, params) if params.promote.automatic else None
    except StageError as error:  # a store that is silent now: the version waits for the next run
        get_run_logger().warning(str(error))
        return None
    if version is None:
        return None
    waits = params.promote.approval_hours is not None
    state = judge(str(folder), version, ["--propose"] if waits else [], return_state=True)
    said = str(state.message)
    publish_decision(said, _links(said), get_run_logger().warning)
    if waits and "waits for approval" in said:
        return _approved(folder, params, version, said)
    return said.partition("\n")[0]


def _links(said: str) -> dict[str, str]:
    """The page of the comparison, where `idiom promote` says that it is: in MLflow, and as a file without a server."""
    found = dict(line.split(maxsplit=1) for line in said.splitlines() if line.startswith(("page ", "mlflow ")))
    links = {"Comparison with the champion": found.get("mlflow", "")}
    if "page" in found:
        links["The same page as a file"] = Path(found["page"]).as_uri()
    return {text: address for text, address in links.items() if address}


def _approved(folder: Path, params: Params, version: str, said: str) -> str:
    """Wait for a reviewer, and promote the version in their name."""
    hours = params.promote.approval_hours
    assert hours is not None
    asked = Approval.with_initial_data(
        description=f"The rules accept version {version} of {params.dataset}.\n\n```\n{said}\n```"
    )
    try:
        answer = pause_flow_run(wait_for_input=asked, timeout=int(hours * 3600), poll_interval=1)
    except FlowPauseTimeout:
        return f"version {version} stays the challenger: nobody approved it within {hours:g} hours"
    reviewer = answer.reviewer.strip()
    if not answer.approve or not reviewer:
        return f"version {version} stays the challenger: " + (
            f"{reviewer} did not approve it" if reviewer else "no name given"
        )
    state = judge(str(folder), version, ["--by", reviewer], return_state=True)
    return f"{str(state.message).partition(chr(10))[0]} (approved by {reviewer})"
