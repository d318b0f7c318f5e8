"""What `idiom doctor` finds in a workspace: its graph, MLflow's database, the model, locks and leftovers.

`fix` mends what is safe: nothing is lost, and no process that lives is disturbed.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.errors import BadInput, StageError
from components.processes import git
from components.storage.layout import Layout

Status = Literal["ok", "warn", "fail"]
FIX = "idiom doctor --fix"

_OLD_SECONDS = 3600.0
"""A temporary or a lock of git that nobody has touched for so long belongs to something that was killed."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.(tmp|old)")
"""Names that `storage.artifacts.publishing` gives."""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` is shown unless all is well."""

    status: Status
    what: str
    mend: str = ""


def graph(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Check parameters, graph and raw data of the workspace."""
    from components.settings.file import load
    from flows import graph as stages

    try:
        params = load(workspace / "params.yaml")
        names = [stage.name for stage in stages.read(workspace)]
    except StageError as error:
        yield _failed(error)
        return
    yield Finding("ok", f"params.yaml and dvc.yaml: dataset {params.dataset}, stages {' '.join(names)}")
    data = workspace / params.ingest.path
    if data.is_symlink() and not data.exists():
        mend = "idiom init PATH --force links it anew"
        yield Finding("fail", f"the link {data} leads nowhere: {data.readlink()}", mend)
    elif not data.exists():
        yield Finding("fail", f"no raw data at {data}", "idiom init PATH links yours and writes params.yaml")
    else:
        yield Finding("ok", f"raw data: {data}{f' -> {data.resolve()}' if data.is_symlink() else ''}")


def code(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Check that the command line is of this workspace: a copied environment runs the code that it was made for."""
    import components

    runs, here = Path(components.__file__).resolve().parents[1], workspace.resolve()
    if (here / "components").is_dir() and runs != here:
        mend = "rm -rf .venv && make env, in the workspace: an environment cannot be moved or copied"
        yield Finding("warn", f"this `idiom` is the code of {runs}, the stages run that of {here}", mend)
    else:
        yield Finding("ok", f"the code is that of {runs}")


def store(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Check MLflow's database: that it is one, is whole, and names this folder."""
    from components.registry import moved
    from components.registry.database import refuse_junk
    from components.registry.store import database as database_of

    database = database_of(workspace)
    if database is None:
        return  # `servers` looks whether it answers
    if not database.exists():
        yield Finding("ok", "there is no MLflow database yet; the first training makes it")
        return
    try:
        refuse_junk(database)
        broken = _broken_pages(database)
        old = moved.moved_from(database)
    except BadInput as error:
        if not fix or "no SQLite file" not in error.what:
            yield _failed(error, f", or {FIX} does it" if "no SQLite file" in error.what else "")
            return
        aside = database.with_name(f"{database.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
        database.rename(aside)
        yield Finding("ok", f"mended: {database.name} was no database and is {aside.name} now; retrain registers again")
        return
    if broken:
        mend = f"restore it from a backup, or `sqlite3 {database} .recover`; moved away, idiom retrain makes a new one"
        yield Finding("fail", f"MLflow's database is damaged: {broken}", mend)
    elif old and fix:
        try:
            yield Finding("ok", f"mended: {moved.mend(database)} paths of MLflow's database name this folder now")
        except BadInput as error:
            yield _failed(error)
    elif old:
        yield Finding("fail", moved.in_words(old), FIX)
    else:
        yield Finding("ok", f"MLflow's database {database}")


def registered(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Check that MLflow has the model that lies here; DVC would not notice a deleted database, or a pulled model."""
    from components.registry.published import MEND, missing_version, registration_of
    from components.settings.file import load

    try:
        params = load(workspace / "params.yaml")
        gone = missing_version(workspace, params)
        here = registration_of(Layout(workspace, params.dataset))
    except StageError as error:
        yield _failed(error)
        return
    if gone and here:
        yield Finding("fail", f"{gone} was registered, and MLflow has it no more", MEND)
    elif gone:
        yield Finding("warn", f"{gone} is registered in no MLflow of this workspace", MEND)
    elif here:
        yield Finding("ok", f"MLflow has {here['name']} version {here['version']}, the model that lies here")
    else:
        yield Finding("ok", "there is no model yet that MLflow should have")


def locks(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """DVC's list of who works on what, and git's lock of its index."""
    from flows import dvc_lock

    done = dvc_lock.mend(workspace, dead=True) if fix else None
    alive = ", ".join(map(str, dvc_lock.holders(workspace)))
    if done:
        yield Finding("ok", f"mended: {done}")
    elif dvc_lock.broken(workspace):
        by = f"; processes in it that live: {alive}" if alive else ""
        what = f"DVC cannot read {dvc_lock.RWLOCK}, so that no stage runs{by}"
        yield Finding("fail", what, f"end what runs there, then {FIX} (idiom repro and idiom retrain do it too)")
    elif alive:
        yield Finding("ok", f"a run is going on in this workspace: process {alive}")
    elif dvc_lock.names_the_dead(workspace):
        yield Finding("ok", "DVC's locks are those of processes that ended; the next run lets go of them")
    else:
        yield Finding("ok", "no run holds DVC's locks")
    yield from _index_lock(workspace, fix)


def cache(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Check that DVC's cache holds what its names say, for all that dvc.lock names."""
    from flows import dvc_cache

    found = dvc_cache.damaged(workspace)
    if not found:
        return
    what = f"{len(found)} files of DVC's cache are damaged, such as {found[0]}"
    if not fix:
        yield Finding("fail", what, f"{FIX} brings them back from the remote, or from the outputs that lie here")
        return
    done = dvc_cache.mend(workspace, found)
    if done.back:
        yield Finding("ok", f"mended: {len(done.back)} damaged files of DVC's cache are right again")
    if done.lost:
        mend = "idiom retrain makes them again; a remote would have had them (docs/dvc.md)"
        yield Finding("fail", f"{len(done.lost)} damaged files of DVC's cache were removed, and nobody has them", mend)


def leftovers(workspace: Path, fix: bool = False) -> Iterator[Finding]:
    """Temporaries of what was killed while it wrote: nothing reads them, and they may be as large as a model."""
    found = [path for folder in ("artifacts", "work") for path in _temporaries(workspace / folder)]
    left = [path for path in found if time.time() - path.lstat().st_mtime > _OLD_SECONDS]
    if not left:
        return
    size = sum(file.lstat().st_size for path in left for file in (path, *path.rglob("*")) if file.is_file()) / 2**20
    what = f"{len(left)} temporaries of killed runs, {size:.0f} MiB, such as {left[0]}"
    if not fix:
        yield Finding("warn", what, FIX)
        return
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    yield Finding("ok", f"mended: removed {what}")


def _index_lock(workspace: Path, fix: bool) -> Iterator[Finding]:
    """Git's lock of its index, which a killed git leaves and every later one stumbles over."""
    found = git.ask(workspace, "rev-parse", "--git-path", "index.lock")
    lock = workspace / found if found else None
    if lock is None or not lock.is_file() or time.time() - lock.stat().st_mtime < _OLD_SECONDS or _open(lock):
        return
    if fix:
        lock.unlink()
        yield Finding("ok", f"mended: removed {lock}, which no process had open")
    else:
        yield Finding("warn", f"git's lock {lock} is over an hour old and no process has it open", FIX)


def _open(path: Path) -> bool:
    """Whether a process of this machine has the file open, as far as we may look."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == path.resolve():
                return True
        except OSError:
            continue
    return False


def _broken_pages(database: Path) -> str:
    """What SQLite says of a database that is not whole; "" for a whole or an empty one."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=20.0)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        mend = "a run or a server is writing; `register` waits for register.wait_seconds. fuser says who it is"
        raise BadInput(f"MLflow's database cannot be read: {error}", where=str(database), mend=mend) from error
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if said == "ok" else str(said)


def _temporaries(folder: Path) -> Iterator[Path]:
    """Temporaries below a folder; one inside another is not looked for."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if _TEMPORARY.fullmatch(name):
                yield Path(parent, name)
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]


def _failed(error: StageError, more: str = "") -> Finding:
    return Finding("fail", error.what, f"{error.mend}{more} ({error.where})")
