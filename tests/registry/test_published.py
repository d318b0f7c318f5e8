"""A registration whose store was deleted is noticed: DVC, which knows files alone, counts the stage as done."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from components.registry.bundle import assemble
from components.registry.published import missing_version
from components.registry.register import register
from components.storage.artifacts import publish_json
from flows.doctor import registered
from flows.results import links
from tests.registry.workspace import build


def test_a_deleted_store_is_noticed_and_mended(workspace: Path, empty_store: Path) -> None:
    """Prevents a green pipeline whose model nobody can load."""
    layout, params = build(workspace)
    assert missing_version(workspace, params) is None  # there is no bundle yet
    register(params, layout)
    assert missing_version(workspace, params) is None
    (workspace / "mlflow.db").write_bytes(empty_store.read_bytes())
    assert missing_version(workspace, params) == "idiom version 1"
    register(params, layout)
    assert missing_version(workspace, params) is None


def test_a_bundle_that_was_pulled_is_not_taken_for_registered(workspace: Path) -> None:
    """Prevents a clone, or an applied experiment, whose model MLflow has never heard of while all stages are done; and
    a summary that names the version of another bundle."""
    layout, params = build(workspace)
    register(params, layout)
    elsewhere = layout.registration.read_bytes()
    layout, params = build(workspace, weights=b"of an experiment")
    assemble(layout, params)
    for content in (None, elsewhere):
        if content is None:
            layout.registration.unlink()
        else:
            layout.registration.write_bytes(content)
        assert missing_version(workspace, params) == "the model of tiny that lies here"
        assert "MLflow model version" not in links(workspace, params)
    (workspace / "params.yaml").write_text("dataset: tiny\nevaluate:\n  ks: [2, 5]\n")
    (finding,) = registered(workspace)
    assert finding.status == "warn" and "idiom retrain" in finding.mend


def test_the_doctor_says_how_to_mend_it(workspace: Path, empty_store: Path) -> None:
    """Prevents a doctor that calls a workspace healthy whose champion is gone."""
    layout, params = build(workspace)
    (workspace / "params.yaml").write_text("dataset: tiny\nevaluate:\n  ks: [2, 5]\n")
    register(params, layout)
    assert [finding.status for finding in registered(workspace)] == ["ok"]
    (workspace / "mlflow.db").write_bytes(empty_store.read_bytes())
    (finding,) = registered(workspace)
    assert finding.status == "fail" and "idiom version 1" in finding.what and "--force register" in finding.mend


def test_a_registration_that_is_none(workspace: Path) -> None:
    """Prevents a KeyError for a file that a merge broke."""
    layout, params = build(workspace)
    assemble(layout, params)
    publish_json(layout.registration, ["idiom"])
    with pytest.raises(BadInput, match="not what `register` writes"):
        missing_version(workspace, params)
