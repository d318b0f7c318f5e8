"""`idiom deploy`: sets up on a Prefect server what prefect.yaml says, and what Prefect's own `deploy` leaves out.

The work pool, its queues with their limits, the deployments with their schedules and triggers, the automations
(automations.py). Called again it changes what changed, and removes deployments of this workspace that prefect.yaml no
longer names. Schedules that were paused in Prefect's pages are paused no more.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput, StageError
from flows.automations import TAG, install

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "idiom"
"""Work pool of the deployments; its workers start each run as a process."""
GPU_QUEUE = "gpu"
"""Work queue of whatever trains or scores."""
_FILE = "prefect.yaml"


def deploy(
    workspace: Path, *, notify: str | None = None, gpu_jobs: int = 1, say: Callable[[str], object] = print
) -> None:
    """Set everything up on the server of PREFECT_API_URL.

    notify: a notification block as TYPE/NAME, which is told of runs that fail. gpu_jobs: runs of the queue `gpu` at a
    time. Raises `BadInput` where there is no server, no prefect.yaml or no such block; `StageError` where Prefect takes
    a deployment not as it is.
    """
    from prefect.client.orchestration import get_client

    if "PREFECT_API_URL" not in os.environ:
        mend = "start one (idiom stack start, idiom ui) and export PREFECT_API_URL=http://127.0.0.1:4200/api"
        raise BadInput("there is no Prefect server to deploy to", where="PREFECT_API_URL", mend=mend)
    wanted = names(workspace)
    with get_client(sync_client=True) as client:
        _pool(client, {"default": None, GPU_QUEUE: gpu_jobs})
        say(f"pool        {POOL}, queue {GPU_QUEUE}: {gpu_jobs} at a time")
        _deployments(workspace)
        found = {each.name: each for each in ours(client, workspace)}
        if missing := [name for name in wanted if name not in found]:
            mend = f"see what `prefect deploy --name {missing[0]}` says there"
            raise StageError(f"Prefect has no deployment {missing[0]}", where=str(workspace / _FILE), mend=mend)
        for name, each in found.items():
            if name in wanted:
                say(f"deployment  {name}")
            else:
                client.delete_deployment(each.id)
                say(f"removed     {name}, which {_FILE} does not name")
    for name in install(notify=notify):
        say(f"automation  {name}")
    if not notify:
        say("nobody is told of a run that fails; --notify TYPE/NAME names a block that is")


def names(workspace: Path) -> list[str]:
    """Names of the deployments in prefect.yaml. Raises `BadInput` where there is no such file."""
    import yaml

    path = workspace / _FILE
    if not path.is_file():
        raise BadInput(f"there is no {_FILE}", where=str(workspace), mend="name a clone of the repository: --workspace")
    return [each["name"] for each in yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]]


def ours(client: SyncPrefectClient, workspace: Path) -> list[Any]:
    """Deployments that run in this workspace, of any name."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found = client.read_deployments(deployment_filter=tagged)
    return [each for each in found if _runs_in(each.pull_steps or [], workspace.resolve())]


def _runs_in(steps: Sequence[Mapping[str, Any]], workspace: Path) -> bool:
    """Whether the steps before a run go into this folder, by whatever name; one that is called alike is another."""
    given = (each for step in steps for each in step.values() if isinstance(each, Mapping))
    return any(Path(each["directory"]).resolve() == workspace for each in given if each.get("directory"))


def _pool(client: SyncPrefectClient, queues: Mapping[str, int | None]) -> None:
    """Make the pool and its queues where they are not there, and set the limits of the queues."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError

    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for name, limit in queues.items():
        where = f"/work_pools/{POOL}/queues"
        try:
            client.request("PATCH", f"{where}/{name}", json={"concurrency_limit": limit})  # type: ignore[arg-type]
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            client.request("POST", where, json={"name": name, "concurrency_limit": limit})  # type: ignore[arg-type]


def _deployments(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=workspace,
        # A busy server says 503, most of all one on SQLite: it is asked again for 2 + 4 + ... + 256 s.
        env={"PREFECT_CLIENT_MAX_RETRIES": "8", **os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        mend = "see what `prefect deploy --all` says there"
        raise StageError("Prefect did not take the deployments", where="\n".join(lines[-6:]), mend=mend)
