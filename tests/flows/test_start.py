"""`idiom retrain --from`: the bundle that a training goes on from, params.yaml, the flow's parameter, lineage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from components.errors import BadInput
from components.registry.bundle import verified
from components.registry.origin import origin_of
from components.registry.register import register
from components.settings.file import load
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256
from components.textid.table.id_table import IdTable
from flows.reproduce import lineage_lines
from flows.start import bring_start, start_from, with_start
from tests.registry.workspace import build, empty_store
from tests.workspaces import make_workspace, run_here

PARAMS = """# settings of a shop
dataset: shop
train:            # the largest section
  size: micro     # small
  recommender:
    epochs: 2
seed: 17
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PARAMS, PARAMS.replace("section\n", "section\n  start: work/bundles/ab\n")),
        (
            PARAMS.replace("  size", "  start: old  # of May\n  size"),
            PARAMS.replace("  size", "  start: work/bundles/ab\n  size"),
        ),
        ("train: {}\nseed: 1\n", "train:\n  start: work/bundles/ab\nseed: 1\n"),
        ("train:\nseed: 1\n", "train:\n  start: work/bundles/ab\nseed: 1\n"),
        ("seed: 1", "seed: 1\ntrain:\n  start: work/bundles/ab\n"),
        ("seed: 1\ntrain: {}", "seed: 1\ntrain:\n  start: work/bundles/ab\n"),
    ],
)
def test_one_line_changes(before: str, after: str) -> None:
    """Prevents a params.yaml that loses its comments, or another setting, to a command."""
    assert with_start(before, "work/bundles/ab") == after
    assert "start" not in yaml.safe_load(with_start(after, None)).get("train", {})
    assert with_start(after, "work/bundles/ab") == after


def test_a_section_in_one_line_is_left_alone() -> None:
    with pytest.raises(BadInput, match=r"write train\.start: work/bundles/ab"):
        with_start("train: {size: micro}\n", "work/bundles/ab")


def test_the_champions_bundle_stays_when_the_stage_writes_another(tmp_path: Path) -> None:
    """Prevents a training that goes on from what the same run has replaced, and a link to it."""
    layout, params = build(tmp_path)
    shutil.copyfile(empty_store(), tmp_path / "mlflow.db")
    done = register(params, layout)
    (tmp_path / "params.yaml").write_text("dataset: tiny\n")
    assert "version 1 of idiom" in start_from(tmp_path, "champion")
    start = load(tmp_path / "params.yaml").train.start
    assert start == f"work/bundles/{done['bundle_sha256']}"
    other, _ = build(tmp_path, weights=b"others")
    register(params, other)
    verified(tmp_path / start, done["bundle_sha256"])
    assert start_from(tmp_path, "1") and load(tmp_path / "params.yaml").train.start == start

    place = tmp_path / "clone"  # of whoever makes a version again: from here, or from MLflow
    for here in (True, False):
        if not here:
            shutil.rmtree(tmp_path / start)
        text = (tmp_path / "params.yaml").read_text()
        assert bring_start(tmp_path, params, text, place / str(here)) == start
        verified(place / str(here) / start, done["bundle_sha256"])

    assert "beginning" in start_from(tmp_path, "scratch")
    assert load(tmp_path / "params.yaml").train.start is None
    assert "version 1 of idiom" in start_from(tmp_path, "champion-if-any")
    assert load(tmp_path / "params.yaml").train.start == start
    with pytest.raises(BadInput, match="is no version or alias"):
        start_from(tmp_path, "7")


@pytest.mark.slow
def test_the_champion_is_trained_further_and_the_new_version_says_so(tmp_path: Path) -> None:
    """Prevents a chain that breaks anywhere between champion and successor: key, table, index, ranker, bundle."""
    root = make_workspace(tmp_path / "shop")
    stages = ("ingest", "validate", "clean", "train", "index", "rank", "evaluate", "register")
    run_here(root, *stages)
    params = load(root / "params.yaml")
    layout = Layout(root, params.dataset)
    first, table = read_json(layout.registration), IdTable.load(layout.id_table)
    start_from(root, "champion")
    run_here(root, *stages[3:])
    assert IdTable.load(layout.id_table).churn(table) == 0.0
    facts = read_json(layout.pair / "pair.json")["start"]
    assert facts["sha256"] == first["bundle_sha256"]
    assert facts["generation"] == 1
    second = read_json(layout.registration)
    assert second["version"] == first["version"] + 1
    assert second["aliases"] == ["challenger"]
    lines = lineage_lines(origin_of(root, load(root / "params.yaml"), "challenger"))
    assert [line.split()[1:3] for line in lines if line.startswith("start ")] == [["version", f"{first['version']},"]]
    # The same settings make the same pair: nothing is new, and the recommender is the champion's.
    kept = root / "work" / "bundles" / first["bundle_sha256"] / "recommender" / "model.safetensors"
    assert sha256(layout.pair / "recommender" / "model.safetensors") == sha256(kept)
