"""The SQLite file of an MLflow store: made whole or not at all, refused where it is no database."""

from __future__ import annotations

import tempfile
from pathlib import Path

from components.errors import BadInput
from components.storage.artifacts import publishing
from components.storage.lock import locked, users_lock
from components.storage.manifest import digest

_SQLITE = b"SQLite format 3\0"


def make(path: Path) -> None:
    """Make the tables of today's MLflow, unless the file is there; seconds, once.

    MLflow makes them in place, in some fifty migrations: ended among the last ones, it leaves a database that it
    refuses ever after as out of date.
    """
    if path.exists():
        return
    from mlflow.db import commands

    with locked(users_lock(Path(tempfile.gettempdir()), f"mlflow-{digest(str(path.resolve()))[:16]}")):
        if path.exists():
            return
        with publishing(path) as temporary:
            commands(["upgrade", f"sqlite:///{temporary}"], standalone_mode=False)


def refuse_junk(path: Path) -> None:
    """Raises `BadInput` for a file that is no database: it would end in SQLAlchemy's traceback, from a migration."""
    if not path.exists():
        return
    mend = "move it away: idiom retrain makes a new one and registers the model again; or restore it"
    if path.is_dir():
        raise BadInput("MLflow's database is a folder", where=str(path), mend=mend)
    with path.open("rb") as stream:
        head = stream.read(len(_SQLITE))
    if head and head != _SQLITE:  # an empty file is what SQLite itself begins with
        raise BadInput("MLflow's database is no SQLite file", where=str(path), mend=mend)
