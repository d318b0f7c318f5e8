"""A store that is locked for a while, or for good."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import BadInput
from components.registry.patience import QUICK, RETRIES, patient, retries
from components.registry.register import register
from components.registry.store import connect
from components.settings.params import Register
from components.storage.artifacts import read_json
from tests.registry.workspace import build


@pytest.fixture
def lock(workspace: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Locks the store, for all who read or write, until its connection is closed."""
    held: list[sqlite3.Connection] = []

    def hold() -> sqlite3.Connection:
        held.append(sqlite3.connect(workspace / "mlflow.db", isolation_level=None, check_same_thread=False))
        held[-1].execute("BEGIN EXCLUSIVE")
        return held[-1]

    yield hold
    for connection in held:
        connection.close()


def test_a_lock_that_goes_away_is_waited_out(
    workspace: Path, lock: Callable[[], sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a night's model unregistered because a backup held the database. It is locked between two steps."""
    from components.registry import register as module

    layout, params = build(workspace)
    log_model = module.log_model

    def locked(*given: object) -> str:
        connection = lock()
        threading.Timer(1.0, connection.close).start()
        return log_model(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "log_model", locked)
    assert register(params, layout)["version"] == 1


def test_the_limit_is_the_one_of_the_settings(workspace: Path, lock: Callable[[], sqlite3.Connection]) -> None:
    """Prevents: MLflow's own 20 s whatever is set, and a mend that speaks of a server where a file is locked."""
    layout, params = build(workspace)
    connect(workspace)
    params = replace(params, register=Register(wait_seconds=0.2))
    lock()
    with pytest.raises(BadInput, match=r"locked[\s\S]*register\.wait_seconds"):
        register(params, layout)
    assert not layout.registration.exists()
    with patient(33.0):
        assert busy_timeout(workspace) == 33_000
    assert busy_timeout(workspace) == 20_000


def busy_timeout(workspace: Path) -> int:
    """Milliseconds for which a session of MLflow waits for a lock."""
    import sqlalchemy
    from mlflow.store.db.utils import _get_managed_session_maker, create_sqlalchemy_engine
    from sqlalchemy.orm import sessionmaker

    engine = create_sqlalchemy_engine(f"sqlite:///{workspace / 'other.db'}")
    with _get_managed_session_maker(sessionmaker(engine), "sqlite")() as session:
        return int(session.execute(sqlalchemy.text("PRAGMA busy_timeout")).scalar_one())


def test_a_server_is_asked_again_about_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a server that restarts within the limit and finds nobody waiting; and a limit that stays behind."""
    assert [retries(seconds) for seconds in (0, 4, 28, 124, 600)] == [1, 2, 4, 6, 9]
    monkeypatch.setenv(RETRIES, QUICK)
    with patient(124):
        assert os.environ[RETRIES] == "6"
    assert os.environ[RETRIES] == QUICK
    monkeypatch.setenv(RETRIES, "1")
    with patient(124):
        assert os.environ[RETRIES] == "1", "what a person has set is kept"


def test_how_long_one_waits_makes_no_other_model(workspace: Path) -> None:
    """Prevents: a second version of the same model because somebody was more patient."""
    layout, params = build(workspace)
    first = register(params, layout)
    assert register(replace(params, register=Register(wait_seconds=7.0)), layout) == first
    assert "wait_seconds" not in read_json(layout.bundle / "params.json")["register"]
