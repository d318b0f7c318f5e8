"""Sides as they are read from an evaluation's artifacts and from what is kept of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation.comparison.sides import SLICE, keep, read
from components.storage.artifacts import publish_json, read_json
from tests.registry.workspace import build


def test_what_is_kept_reads_as_the_artifacts_do(tmp_path: Path) -> None:
    """Prevents a version that can be compared only while its workspace is there, or under other names of its items."""
    layout, _ = build(tmp_path)
    keep(layout, tmp_path / "kept")
    for who in ("model", "item_graph", "popularity"):
        here, kept = read(layout.root, who, name="a"), read(tmp_path / "kept", who, name="a")
        assert here.users.equals(kept.users) and len(here.users) == 6
        assert (here.titles, here.words, here.verdict) == (kept.titles, kept.words, kept.verdict)
        assert here.words["i0"] == "words of i0" and here.titles["i7"] is None
        assert here.protocol == kept.protocol and here.headline == "masked" and here.depth == 5
        assert set(here.baselines) == {"item_graph", "popularity"} - {who}


def test_each_contender_has_its_own_lists_and_slices_of_the_evaluation(tmp_path: Path) -> None:
    """Prevents the model's lists shown as a baseline's, and slices that no reader of the report knows."""
    layout, _ = build(tmp_path)
    for who in ("model", "item_graph", "popularity"):
        users = read(layout.root, who, name="a").users
        for row in users.iter_rows(named=True):
            place = row["recommended"].index(row["target"]) + 1 if row["target"] in row["recommended"] else 0
            assert place == row["rank"], who
        assert {column for column in users.columns if column.startswith(SLICE)} == {
            f"{SLICE}history length",
            f"{SLICE}target",
        }
    slices = read_json(layout.metrics)["slices"]["target"]
    counted = dict(users.group_by(f"{SLICE}target").len().iter_rows())
    assert counted == {name: group["users"] for name, group in slices.items()}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """Prevents a traceback from a version that was evaluated before lists were kept, or from a wrong folder."""
    layout, _ = build(tmp_path)
    with pytest.raises(BadInput, match="no per-user results"):
        read(tmp_path, name="a")
    with pytest.raises(BadInput, match=r"lack .*recommended_nobody"):
        read(layout.root, "nobody", name="a")
    table = pl.read_parquet(layout.per_user)
    table.drop("recommended_item_graph").write_parquet(layout.per_user)
    with pytest.raises(BadInput, match="lack recommended_item_graph"):
        read(layout.root, "item_graph", name="a")
    table.select(pl.exclude(f"^{SLICE}.*$")).write_parquet(layout.per_user)
    with pytest.raises(BadInput, match=f"lack {SLICE}"):
        read(layout.root, name="a")
    publish_json(layout.metrics, {"protocol": {"headline": "masked"}})
    with pytest.raises(BadInput, match="protocol"):
        read(layout.root, name="a")
