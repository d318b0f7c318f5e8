"""Automations of Prefect's server for the deployments of prefect.yaml: runs that fail, and runs of which nobody hears.

    idiom deploy --notify slack-webhook/my-team                  # these too (deploy.py); or alone:
    export PREFECT_API_URL=http://127.0.0.1:4200/api
    python -m flows.automations                                  # runs whose machine died become Crashed
    python -m flows.automations --notify slack-webhook/my-team   # and each run that fails is told to that block

Called again, it updates them: Prefect's own `automation create --from-file` would make each a second time. The block is
one of Prefect's notification blocks, made in its pages or by `prefect block register`; it keeps the address.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.errors import BadInput, StageError
from flows.environment import prepare

if TYPE_CHECKING:
    from prefect.automations import Automation

TAG = "idiom"
"""Tag of the deployments of prefect.yaml, and so of their runs."""
ZOMBIES, FAILURES = "idiom: runs that went silent are Crashed", "idiom: tell of runs that failed"
HEARTBEAT_SECONDS = 60
"""How often a run says that it lives; prefect.yaml sets it (PREFECT_FLOWS_HEARTBEAT_FREQUENCY)."""
SILENT = timedelta(seconds=4 * HEARTBEAT_SECONDS)
_BAD_ENDINGS = ("Failed", "Crashed", "TimedOut", "BadInput", "Refused", "Killed", "Busy")
"""Names of states, by which Prefect names events: its own, and ours (flows/repro.py)."""
_BODY = """{{ flow.name }}: {{ flow_run.name }} is {{ flow_run.state.name }}

{{ flow_run.state.message }}

{{ flow_run|ui_url }}"""


def install(*, notify: str | None = None, silent: timedelta = SILENT) -> list[str]:
    """Create or update the automations on the server of PREFECT_API_URL; returns their names.

    notify: a notification block as TYPE/NAME; none: only the zombies. Raises `BadInput` for a block that is not there.
    """
    from prefect.automations import Automation
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, SendNotification
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    runs = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    ours = ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})
    wanted = [
        Automation(
            name=ZOMBIES,
            description="A run that has sent a heartbeat and then nothing has lost its machine.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                match=runs,
                match_related=ours,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=silent,
            ),
            actions=[
                ChangeFlowRunState(
                    name=None,
                    state=StateType.CRASHED,
                    message="nothing was heard of it: its machine or its worker died",
                    force=False,
                )
            ],
        )
    ]
    if notify:
        wanted.append(
            Automation(
                name=FAILURES,
                description="Each bad ending, with what was found, where, and how to mend it.",
                trigger=EventTrigger(
                    expect={f"prefect.flow-run.{name}" for name in _BAD_ENDINGS},
                    match=runs,
                    match_related=ours,
                    for_each={"prefect.resource.id"},
                    posture=Posture.Reactive,
                    threshold=1,
                    within=timedelta(0),
                ),
                actions=[
                    SendNotification(
                        block_document_id=_block(notify), subject="{{ flow.name }}: {{ flow_run.name }}", body=_BODY
                    )
                ],
            )
        )
    for each in wanted:
        _put(each)
    return [each.name for each in wanted]


def _put(automation: Automation) -> None:
    """Create the automation, or update the one of its name."""
    try:
        known: Any = type(automation).read(name=automation.name)
        automation.id = known.id
    except ValueError:  # there is none of this name
        automation.create()
    else:
        automation.update()


def _block(notify: str) -> UUID:
    """Id of a saved block."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    kind, _, name = notify.partition("/")
    with get_client(sync_client=True) as client:
        try:
            return client.read_block_document_by_name(name, kind).id
        except ObjectNotFound as error:
            mend = "make it in Prefect's pages (Blocks), and give TYPE/NAME as `prefect block ls` lists it"
            raise BadInput(f"there is no block {notify}", where=str(client.api_url), mend=mend) from error


def main(arguments: list[str]) -> int:
    """Install them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description="Automations of the deployments.")
    parser.add_argument("--notify", metavar="TYPE/NAME", help="notification block that is told of runs that failed")
    given = parser.parse_args(arguments)
    prepare(Path())
    try:
        if "PREFECT_API_URL" not in os.environ:
            mend = "export PREFECT_API_URL=http://127.0.0.1:4200/api: automations live on a server that runs"
            raise BadInput("there is no Prefect server to install them on", where="PREFECT_API_URL", mend=mend)
        for name in install(notify=given.notify):
            print(f"installed  {name}")
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not given.notify:
        print("nobody is told of a run that fails; --notify TYPE/NAME names a block that is")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
