"""A bundle that was exchanged together with its manifest: it fits itself, and is not what was registered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.registry.bundle import DIGEST, bundle_sha256
from components.registry.champion import champion_bundle
from components.registry.register import register
from components.registry.store import connect
from components.settings.params import Params
from components.storage.manifest import MANIFEST, verify_manifest, write_manifest
from flows.score import scoring_of
from tests.registry.workspace import build


@pytest.fixture
def shop(workspace: Path) -> Iterator[tuple[Path, Params]]:
    """A workspace whose champion is not what lies in its artifacts."""
    layout, params = build(workspace)
    register(params, layout)
    shutil.rmtree(layout.bundle)
    yield workspace, params


def exchange(bundle: Path) -> None:
    """Other weights, and a manifest that fits them."""
    facts = {key: value for key, value in verify_manifest(bundle).items() if key != "files"}
    (bundle / "recommender" / "model.safetensors").write_bytes(b"of somebody else")
    (bundle / MANIFEST).unlink()
    write_manifest(bundle, **facts)
    verify_manifest(bundle)


def in_mlflow(workspace: Path) -> Path:
    (model,) = workspace.glob("mlartifacts/tiny/models/*/artifacts/artifacts/bundle")
    return model


def test_the_kept_bundle_is_compared_with_the_version(shop: tuple[Path, Params]) -> None:
    """Prevents recommendations, and scores of all users, by weights that nobody registered, with exit code 0."""
    workspace, params = shop
    exchange(champion_bundle(workspace, params))
    with pytest.raises(BadInput, match="not what was registered"):
        champion_bundle(workspace, params)
    histories = workspace / "histories.parquet"
    histories.touch()
    with pytest.raises(BadInput, match="not what was registered"):
        scoring_of(workspace, params, histories, workspace / "scores", bundle=None, settings={})


def test_mlflows_copy_is_compared_with_the_version(shop: tuple[Path, Params]) -> None:
    """Prevents the same where it is fetched: nothing of it is kept, and no server starts on it."""
    workspace, params = shop
    exchange(in_mlflow(workspace))
    with pytest.raises(BadInput, match="not what was registered"):
        champion_bundle(workspace, params)
    assert not list((workspace / "work").rglob("*.parquet"))


@pytest.mark.parametrize("told", [False, True], ids=["by the tag in MLflow", "by its environment"])
def test_a_served_model_is_compared_where_it_is_loaded(
    shop: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Prevents `mlflow models serve`, which knows nothing of our commands, from answering with exchanged weights."""
    import mlflow.pyfunc

    from components.voices import load

    workspace, _ = shop
    connect(workspace)
    monkeypatch.setattr(load, "load", lambda bundle, **_: None)
    if told:
        monkeypatch.setenv(DIGEST, bundle_sha256(in_mlflow(workspace)))
        monkeypatch.setattr(mlflow.MlflowClient, "get_logged_model", never)
    mlflow.pyfunc.load_model("models:/idiom@champion")
    exchange(in_mlflow(workspace))
    with pytest.raises(BadInput, match="not what was registered"):
        mlflow.pyfunc.load_model("models:/idiom@champion")


def never(*_: Any) -> None:
    raise AssertionError("the store was asked")


def test_a_version_that_register_did_not_make_is_refused(shop: tuple[Path, Params]) -> None:
    """Prevents a KeyError for a version without the tag, and the use of what cannot be compared."""
    workspace, params = shop
    connect(workspace).delete_model_version_tag("idiom", "1", "idiom.bundle_sha256")
    with pytest.raises(BadInput, match=r"no tag idiom\.bundle_sha256"):
        champion_bundle(workspace, params)


def test_artifacts_that_are_gone_are_said(shop: tuple[Path, Params]) -> None:
    """Prevents MLflow's traceback where somebody cleaned up mlartifacts/."""
    workspace, params = shop
    shutil.rmtree(workspace / "mlartifacts")
    with pytest.raises(BadInput, match="MLflow's copy of the model"):
        champion_bundle(workspace, params)
