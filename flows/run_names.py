"""Names of flow runs in Prefect: dataset and the time for which the run was planned, `demo 2026-11-30 03:00` (UTC)."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from prefect.runtime import flow_run

from components.errors import StageError
from components.settings.file import load


def of_the_day() -> str:
    """Name of the flow run that begins; where nobody can say the dataset, that of the workspace's folder."""
    workspace = Path((flow_run.parameters or {}).get("workspace", "."))
    try:
        of = load(workspace / "params.yaml").dataset
    except StageError:  # the flow says it
        of = workspace.resolve().name
    return f"{of} {flow_run.scheduled_start_time.astimezone(UTC):%Y-%m-%d %H:%M}"
