"""Stores for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test uses the store of its own workspace, and leaves no active run or address behind."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    import mlflow

    while mlflow.active_run() is not None:
        mlflow.end_run()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty mlflow.db: making one takes seconds, copying it none."""
    from components.registry.store import connect

    workspace = tmp_path_factory.mktemp("store")
    connect(workspace)
    return workspace / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path) -> Path:
    """An empty workspace with an empty store."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return tmp_path
