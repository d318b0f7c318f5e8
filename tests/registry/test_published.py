"""A registration whose store was deleted is noticed: DVC, which knows files alone, counts the stage as done."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from components.registry.published import missing_version
from components.registry.register import register
from components.storage.artifacts import publish_json
from flows.doctor import registered
from tests.registry.workspace import build


def test_a_deleted_store_is_noticed_and_mended(workspace: Path, empty_store: Path) -> None:
    """Prevents a green pipeline whose model nobody can load."""
    layout, params = build(workspace)
    assert missing_version(workspace, params) is None  # nothing was registered yet
    register(params, layout)
    assert missing_version(workspace, params) is None
    (workspace / "mlflow.db").write_bytes(empty_store.read_bytes())
    assert missing_version(workspace, params) == "idiom version 1"
    register(params, layout)
    assert missing_version(workspace, params) is None


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
    publish_json(layout.registration, ["idiom"])
    with pytest.raises(BadInput, match="not what `register` writes"):
        missing_version(workspace, params)
