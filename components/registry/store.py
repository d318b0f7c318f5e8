"""Connects to the MLflow store: `mlflow.db` and `mlartifacts/` in the workspace, or what MLFLOW_TRACKING_URI says.

The file that is imported before mlflow by everything in this room: it makes mlflow quiet and telemetry-free first.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import BadInput
from components.processes.environment import DEFAULTS
from components.registry.database import make, refuse_junk
from components.registry.moved import ARTIFACTS, refuse_moved
from components.registry.patience import QUICK, RETRIES

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    **DEFAULTS,
    RETRIES: QUICK,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Its UI links are printed at the end of every run otherwise, once per stage.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_EXPERIMENTS = (".dvc", "tmp", "exps")

_EXPERIMENT_TAGS = {
    # Opens MLflow's pages for model training; it guesses, and shows its pages for prompts and traces, otherwise.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "One run per trained model, from its first loss to its registration; the description of a "
    "run says what it is worth. docs/reading-a-run.md tells what to look at.",
}


def home(workspace: Path) -> Path:
    """The folder whose store a workspace uses: its own; of an experiment in a temporary folder of DVC (`--queue`,
    `--temp`), which goes away, the one of the workspace that queued it."""
    here = workspace.resolve()
    return next((each.parents[2] for each in here.parents if each.parts[-3:] == _EXPERIMENTS), here)


def database(workspace: Path) -> Path | None:
    """The SQLite file of the store; None where it is a server or another kind of database."""
    uri = tracking_uri(workspace)
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def tracking_uri(workspace: Path) -> str:
    """The tracking and registry address: the environment's, or the workspace's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home(workspace) / 'mlflow.db'}"


@contextmanager
def using(workspace: Path) -> Iterator[None]:
    """Inside, runs and versions of every workspace go to the store of this one, unless the environment names one."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        yield
        return
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri(workspace.resolve())
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def prepare(workspace: Path) -> None:
    """Make the workspace's own database where there is none; raises `BadInput` for one that is unfit."""
    refuse_unfit(workspace)
    path = database(workspace)
    if path and not path.exists():
        _quiet()
        make(path)


def _quiet() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401 - it sets the levels of its loggers

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It logs the traceback of a failing database and raises it as well; `answering` says it once, in a sentence.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def connect(workspace: Path) -> MlflowClient:
    """A client of the workspace's MLflow; the module-level functions of mlflow use the same address from then on.

    Raises `BadInput` where the store does not answer, or is that of the folder in which the workspace was before.
    """
    prepare(workspace)
    _quiet()
    import mlflow
    from mlflow.exceptions import MlflowException

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
        raise _silent(error, uri) from error
    except Exception as error:
        # A database with a sound head and broken pages fails in the migration, outside MLflow's own handling.
        if type(error).__module__.partition(".")[0] != "sqlalchemy":
            raise
        raise _silent(error, uri) from error
    return client


def behind_alias(workspace: Path, name: str, alias: str, tag: str) -> tuple[str, str] | None:
    """Version and tag value behind an alias, from the tables of a SQLite store, without MLflow and its import.

    None where MLflow has to be asked: another store, other tables than today's, or no such version.
    """
    found = _rows(workspace, _BEHIND_ALIAS, tag, name, alias)
    return (str(found[0][0]), str(found[0][1])) if len(found) == 1 else None


def surely_has(workspace: Path, name: str, tag: str, value: str) -> bool:
    """Whether the tables of a SQLite store have a version of a model with that tag; False: MLflow has to be asked."""
    return bool(_rows(workspace, _WITH_TAG, tag, value, name))


def _rows(workspace: Path, query: str, *values: str) -> list[tuple[object, ...]]:
    """Rows of the workspace's own store; none where it is another kind of store, or has other tables."""
    uri = tracking_uri(workspace)
    elsewhere = os.environ.get("MLFLOW_REGISTRY_URI", uri) != uri or "MLFLOW_WORKSPACE" in os.environ
    path = database(workspace)
    if path is None or elsewhere or not path.is_file():
        return []
    refuse_unfit(workspace)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
            return store.execute(query, values).fetchall()
    except sqlite3.Error:
        return []  # MLflow says what is wrong with it


_BEHIND_ALIAS = """
    SELECT version, value FROM registered_model_aliases
    JOIN model_versions USING (name, version) JOIN model_version_tags USING (name, version)
    WHERE key = ? AND name = ? AND alias = ? AND current_stage != 'Deleted_Internal'
"""


_WITH_TAG = """
    SELECT version FROM model_versions JOIN model_version_tags USING (name, version)
    WHERE key = ? AND value = ? AND name = ? AND current_stage != 'Deleted_Internal'
"""


def refuse_unfit(workspace: Path) -> None:
    """Raises `BadInput` for a database that is none, or one that names another folder. Takes milliseconds."""
    if path := database(workspace):
        refuse_junk(path)
        refuse_moved(path)


@contextmanager
def answering(workspace: Path) -> Iterator[None]:
    """Turn a store that fails while it is used (its disk is full, its server gone) into `BadInput`.

    What MLflow refuses because we asked wrongly is a bug and keeps its traceback.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"):
            raise
        raise _silent(error, tracking_uri(workspace)) from error


def _silent(error: Exception, uri: str) -> BadInput:
    # SQLAlchemy says in its first line how it came to ask, in its second what went wrong.
    said = " ".join(str(error).splitlines()[:2])[:300]
    mend = (
        "start the server or correct MLFLOW_TRACKING_URI; unset, it is the workspace's own mlflow.db, which needs room"
    )
    if "out-of-date database schema" in said:
        said = "another version of MLflow made the database, or one that was ended while it did"
        mend = f"keep a copy of it (cp mlflow.db mlflow.db.before), then mlflow db upgrade {uri}, then run this again"
    if "database is locked" in said:
        said = "the database was locked all the time (database is locked)"
        mend = "see who holds it (fuser mlflow.db) and end it, or raise register.wait_seconds; then run this again"
    return BadInput(f"MLflow does not answer: {said}", where=uri, mend=mend)


def experiment_id(client: MlflowClient, workspace: Path, name: str) -> str:
    """Id of the experiment, made if need be; with a database and no server its artifacts lie in the workspace, or
    beside the database where that is a file: whoever uses it from elsewhere finds them, and `moved` knows them."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is None:
        served = tracking_uri(workspace).startswith(("http://", "https://", "databricks"))
        location = None if served else (_artifacts(workspace) / name).as_uri()
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


def _artifacts(workspace: Path) -> Path:
    path = database(workspace)
    return (path.parent.resolve() if path else home(workspace)) / ARTIFACTS
