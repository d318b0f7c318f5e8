"""Where MLflow keeps things: `mlflow.db` and `mlartifacts/` in the workspace, or what MLFLOW_TRACKING_URI says.

The file that is imported before mlflow by everything in this room: it makes mlflow quiet and telemetry-free first.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    # The default of 7 keeps a person waiting for minutes before a mistyped address is reported.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Its UI links are printed at the end of every run otherwise, once per stage.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_EXPERIMENT_TAGS = {
    # Opens MLflow's pages for model training; it guesses, and shows its pages for prompts and traces, otherwise.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "One run per trained model, from its first loss to its registration; the description of a "
    "run says what it is worth. docs/reading-a-run.md tells what to look at.",
}


def tracking_uri(workspace: Path) -> str:
    """The tracking and registry address: the environment's, or the workspace's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.resolve() / 'mlflow.db'}"


def connect(workspace: Path) -> MlflowClient:
    """A client of the workspace's MLflow; the module-level functions of mlflow use the same address from then on.

    Raises `BadInput` where the store does not answer.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = tracking_uri(workspace)
    registry = os.environ.get("MLFLOW_REGISTRY_URI") or uri
    chosen = {name for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI") if name in os.environ}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry)
    for name in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} - chosen:
        # mlflow exports what it is told, and the next workspace of this process would take it for a user's choice.
        os.environ.pop(name, None)
    try:
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise BadInput(
            f"MLflow does not answer: {str(error).splitlines()[0][:300]}",
            where=uri,
            mend="start the server or correct MLFLOW_TRACKING_URI; unset, the workspace's own mlflow.db is used",
        ) from error
    return client


def experiment_id(client: MlflowClient, workspace: Path, name: str) -> str:
    """Id of the experiment, made if need be; with a database and no server its artifacts lie in the workspace."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is None:
        served = tracking_uri(workspace).startswith(("http://", "https://", "databricks"))
        location = None if served else (workspace.resolve() / "mlartifacts" / name).as_uri()
        try:
            return client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS)
        except MlflowException:
            # Another process made it between the two calls; anything else is raised by the next line's check.
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    if found.lifecycle_stage != "active":
        raise BadInput(
            f"the experiment {name!r} was deleted",
            where=tracking_uri(workspace),
            mend="restore it (mlflow experiments restore) or name another one in register.experiment",
        )
    return found.experiment_id
