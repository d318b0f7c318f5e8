"""`idiom compare` over folders, contenders and versions of a small workspace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from components.registry.register import register
from flows.cli import app
from tests.browser import opened
from tests.registry.workspace import build, empty_store


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Evaluated, and registered as version 1."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(empty_store(), tmp_path / "mlflow.db")
    layout, params = build(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"dataset": "tiny", "evaluate": {"ks": [2, 5]}}))
    register(params, layout)
    return tmp_path


def compared(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_a_model_beside_its_baseline(workspace: Path, browser: Any) -> None:
    """Prevents a page that cannot be opened from where it was written, or figures that are not those of the sides."""
    done = compared("item_graph", "model", "-w", workspace)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Too few users to tell what is trained here from item graph.")
    path = workspace / "artifacts/tiny/compare/item_graph-model.html"
    found = json.loads(path.with_suffix(".json").read_text())
    assert [each["who"] for each in found["sides"]] == ["item_graph", "model"] and found["users"] == 6
    metrics = json.loads((workspace / "artifacts/tiny/evaluate/metrics.json").read_text())
    for side, who in (("item graph", "item_graph"), ("what is trained here", "model")):
        value = metrics["masked"][who]["ndcg_at_5"]
        assert found["figures"][side]["ndcg_at_5"][0] == pytest.approx(value, abs=1e-6)
    with opened(browser, path) as page:
        assert "idiom compare item_graph model" in page.locator("footer").inner_text()
        assert "Words of i0".lower() in page.locator("#shown").inner_text().lower()


def test_a_version_beside_a_folder_and_a_baseline(workspace: Path, tmp_path: Path) -> None:
    """Prevents sides of different kinds that cannot meet, and a page that is not in the run of the version."""
    done = compared("champion", workspace, "1:popularity", "-w", workspace, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "page.json").read_text())
    names = [each["name"] for each in found["sides"]]
    assert names == ["champion (version 1)", str(workspace), "version 1, popularity"]
    overall = found["differences"][str(workspace)]["overall"]["ndcg_at_5"]
    assert overall["difference"] == 0 and overall["p"] == 1 and "mlflow " not in done.output
    again = compared("popularity", "1", "-w", workspace)
    assert again.exit_code == 0 and "/artifacts/comparison/popularity-1.html" in again.output


def test_wrong_names_end_with_a_sentence(workspace: Path) -> None:
    """Prevents a traceback for a typing error, and a page of one side."""
    for names, said in ((["model", "nobody"], "no version, alias or run"), (["model"], "nothing to compare")):
        done = compared(*names, "-w", workspace)
        assert done.exit_code == 2 and said in done.output, done.output


def test_a_page_is_not_written_over_by_its_figures(workspace: Path, tmp_path: Path) -> None:
    """Prevents: `--out page.json` leaves the figures and no page."""
    done = compared("model", "item_graph", "--out", tmp_path / "page.json", "-w", workspace)
    assert done.exit_code == 2 and "--out" in done.output and not (tmp_path / "page.json").exists(), done.output
