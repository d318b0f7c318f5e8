"""A workspace that was moved or copied after its first registration."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils as service_utils

from components.errors import BadInput
from components.registry.champion import champion_bundle
from components.registry.moved import moved_from
from components.registry.register import register
from components.registry.store import connect
from components.settings.params import Register
from flows.cli import app
from flows.doctor_state import store
from tests.registry.workspace import build


@pytest.fixture
def shop(workspace: Path) -> Path:
    """A workspace with a registered model, in a folder whose name an address has to escape."""
    root = workspace / "My Shop"
    root.mkdir()
    (workspace / "mlflow.db").rename(root / "mlflow.db")
    layout, params = build(root)
    (root / "params.yaml").write_text("dataset: tiny\nevaluate:\n  ks: [2, 5]\n")
    register(params, layout)
    return root


def paths(root: Path) -> Iterator[str]:
    """Every text in the database that names a folder of artifacts, wherever it stands."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield from (str(value) for value in row if "/mlartifacts/" in str(value))


@pytest.mark.parametrize("copied", [False, True])
def test_it_is_refused_said_and_mended(shop: Path, copied: bool) -> None:
    """Prevents: empty lists and a traceback after `mv`; and a copy that writes into the folder it was copied from."""
    from typer.testing import CliRunner

    moved = shop.with_name("another place")
    shutil.copytree(shop, moved) if copied else shop.rename(moved)
    shutil.rmtree(moved / "artifacts" / "tiny" / "register")  # so that the champion has to come from MLflow
    before = {path: path.stat().st_mtime_ns for path in shop.rglob("*")} if copied else {}

    said = CliRunner().invoke(app, ["recommend", "i0", "--workspace", str(moved)])
    assert said.exit_code == 2 and "moved or copied" in said.output and "idiom doctor --fix" in said.output
    assert "Traceback" not in said.output
    with pytest.raises(BadInput, match="moved or copied"):
        connect(moved)
    (finding,) = store(moved)
    assert finding.status == "fail" and str(shop) in finding.what

    (finding,) = store(moved, fix=True)
    assert finding.status == "ok" and finding.what.startswith("mended: ")
    assert moved_from(moved / "mlflow.db") == []
    found = set(paths(moved))
    assert found and all("/another%20place/mlartifacts/" in each for each in found), found
    # Where artifacts of a run lie is remembered by MLflow in its process; nobody moves a workspace under one.
    service_utils._artifact_repos_cache.clear()
    layout, params = build(moved, weights=b"of the new place")
    assert champion_bundle(moved, params).is_relative_to(moved)
    assert register(params, layout)["version"] == 2
    assert {path: path.stat().st_mtime_ns for path in shop.rglob("*")} == before, "the old folder was written to"


def test_artifacts_lie_beside_their_database(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: one store whose models lie in all workspaces that ever used it, and go away with them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shop / 'mlflow.db'}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    layout, params = build(elsewhere, weights=b"from elsewhere")
    assert register(replace(params, register=Register(experiment="another")), layout)["version"] == 2
    assert not (elsewhere / "mlartifacts").exists() and moved_from(shop / "mlflow.db") == []


@pytest.mark.parametrize("folder", [".dvc/tmp/exps/tmpa1b2", ".dvc/tmp/exps/standalone/tmpa1b2"])
def test_a_queued_experiment_uses_the_store_of_its_workspace(shop: Path, folder: str) -> None:
    """Prevents: a model that is registered in a database which DVC removes with the experiment's folder."""
    place = shop / folder
    place.mkdir(parents=True)
    layout, params = build(place, weights=b"of an experiment")
    assert register(params, layout)["version"] == 2
    assert not (place / "mlflow.db").exists() and not (place / "mlartifacts").exists()
    assert moved_from(shop / "mlflow.db") == []


def test_a_second_name_of_the_same_folder_is_no_move(shop: Path, tmp_path: Path) -> None:
    """Prevents a refusal because a mount or a link leads to the workspace by another path."""
    link = tmp_path / "link"
    link.symlink_to(shop)
    assert moved_from(link / "mlflow.db") == [] == moved_from(shop / "mlflow.db")


def test_a_database_without_its_artifacts_is_not_rewritten(shop: Path, tmp_path: Path) -> None:
    """Prevents a mend after which the old models are named where they are not."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(shop / "mlflow.db", alone / "mlflow.db")
    (finding,) = store(alone, fix=True)
    assert finding.status == "fail" and "mlartifacts" in finding.what
    assert moved_from(alone / "mlflow.db") == [shop.as_uri()]
