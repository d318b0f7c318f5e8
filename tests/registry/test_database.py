"""MLflow's database is made whole or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from components.errors import BadInput
from components.registry.store import connect, prepare

_MAKE = (
    "import sys; from pathlib import Path; from components.registry.store import prepare; prepare(Path(sys.argv[1]))"
)


def test_ended_while_it_is_made(tmp_path: Path) -> None:
    """Prevents: a first start that was killed among MLflow's migrations, and a workspace whose every later start ends
    with "out-of-date database schema"."""
    making = subprocess.Popen([sys.executable, "-c", _MAKE, str(tmp_path)])
    try:
        while not (half := list(tmp_path.glob(".*.tmp"))) or half[0].stat().st_size < 200_000:
            assert making.poll() is None, "it was over before it could be ended"
            time.sleep(0.005)
    finally:
        making.send_signal(signal.SIGKILL)
        making.wait()
    assert not (tmp_path / "mlflow.db").exists()
    connect(tmp_path)
    assert (tmp_path / "mlflow.db").is_file()


def test_two_make_it_at_once(tmp_path: Path) -> None:
    """Prevents: the second of two first processes replacing the database in which the first has written already."""
    made = [subprocess.Popen([sys.executable, "-c", _MAKE, str(tmp_path)]) for _ in range(2)]
    assert [each.wait() for each in made] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_another_versions_database(workspace: Path) -> None:
    """Prevents: "start the server" as the mend for a database of an older MLflow."""
    prepare(workspace)
    with closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        store.execute("UPDATE alembic_version SET version_num = '75868b020152'")
        store.commit()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with pytest.raises(BadInput, match="another version of MLflow") as raised:
        connect(workspace)
    assert "mlflow db upgrade sqlite:///" in raised.value.mend
