"""A workspace that was moved or copied: MLflow's database holds absolute paths, those of the old one.

Left as it is, lists are empty, models are not found, and a copy writes into the folder that it was copied from.

    moved_from(database)         # ["file:///data/shop"]: where it was made; [] where all is well
    mend(database)               # it names its own folder; what lies in the old one stays as it is

Artifacts lie beside their database (store.py), so the database knows where its own have to be.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.errors import BadInput

ARTIFACTS = "mlartifacts"
"""The folder of all artifacts, beside the database."""
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where the schema of MLflow 3.17 has paths; a test reads the whole database for others."""
_WAIT_SECONDS = 20.0
MEND = "idiom doctor --fix lets it name this folder; the old one, if it is still there, is left as it is"


def moved_from(database: Path) -> list[str]:
    """The folders, as file:// addresses, in which experiments of a database keep their artifacts, but for its own.

    Raises `BadInput` for a database that cannot be read now.
    """
    if not database.is_file():
        return []
    here = database.parent.resolve()
    try:
        locations = _locations(database, "ro&immutable=1")  # without a lock: nobody is waited for, nobody disturbed
    except sqlite3.Error:
        try:
            locations = _locations(database, "ro")  # somebody was writing just then, or it is damaged
        except sqlite3.Error as error:
            mend = "see who uses it (fuser), or what `idiom doctor` says of it"
            raise BadInput(f"MLflow's database cannot be read: {error}", where=str(database), mend=mend) from error
    roots = {location.rpartition(f"/{ARTIFACTS}/")[0] for location in locations}
    return sorted(root for root in roots if root.startswith("file://") and not _same(_path(root), here))


def refuse_moved(database: Path) -> None:
    """Raises `BadInput` where a database names another folder than its own."""
    if old := moved_from(database):
        raise BadInput(in_words(old), where=str(database), mend=MEND)


def in_words(old: list[str]) -> str:
    """What `moved_from` found, for a person."""
    return f"this workspace was moved or copied: its MLflow names {', '.join(str(_path(each)) for each in old)}"


def mend(database: Path) -> int:
    """Let a database name its own folder; returns how many paths were written anew, all in one transaction.

    Raises `BadInput` where the artifacts did not come with the database.
    """
    old = moved_from(database)
    if not old:
        return 0
    here = database.parent.resolve()
    if not (here / ARTIFACTS).is_dir():
        what = f"the database is here, and {ARTIFACTS}/ with the models is not"
        raise BadInput(what, where=str(here), mend=f"bring it from {' or '.join(str(_path(each)) for each in old)}")
    changed = 0
    with closing(_opened(database, "rw")) as connection, connection:
        for root in old:
            # MLflow's own experiment `Default` has a path and no address.
            for before, after in ((root, here.as_uri()), (str(_path(root)), str(here))):
                for table, column in _PATHS:
                    if _has(connection, table, column):
                        changed += _replace(connection, table, column, before, after)
    return changed


def _locations(database: Path, mode: str) -> list[str]:
    """Where the experiments keep their artifacts; nothing of a database without tables."""
    with closing(_opened(database, mode)) as connection:
        if not _has(connection, "experiments", "artifact_location"):
            return []
        return [str(row[0]) for row in connection.execute("SELECT artifact_location FROM experiments")]


def _replace(connection: sqlite3.Connection, table: str, column: str, before: str, after: str) -> int:
    """Replace what `column` begins with, where a slash follows."""
    size = len(before) + 1
    return connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
        (f"{after}/", size + 1, size, f"{before}/"),
    ).rowcount


def _opened(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode={mode}", uri=True, timeout=_WAIT_SECONDS)


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether there is such a column: an empty file has none, another version of MLflow others."""
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one folder: a mount or a link may give it a second name."""
    return one == other or (one.is_dir() and one.samefile(other))
