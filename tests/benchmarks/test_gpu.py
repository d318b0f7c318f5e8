"""The benchmark that trains in pieces: here on a CPU, with a micro model on the micro workspace's own tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks import gpu
from tests.workspaces import MICRO, make_workspace, run_here


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `clean` writes for some users of the demo."""
    root = make_workspace(tmp_path_factory.mktemp("tables"))
    run_here(root, "ingest", "validate", "clean")
    return root / "artifacts" / "demo" / "clean"


def test_pieces_go_on_where_the_last_ended(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: a piece that starts over, trains again when all is done, or counts users that it has not decoded."""
    preset = tmp_path / "preset.yaml"
    train = {**MICRO["train"], "rounds": 1}
    preset.write_text(yaml.safe_dump({"seed": 5, "train": train, "index": MICRO["index"], "evaluate": {"ks": [10]}}))

    def piece(seconds: float) -> dict[str, Any]:
        where = ["--tables", str(tables), "--work", str(tmp_path / "work"), "--device", "cpu"]
        gpu.main([str(preset), *where, "--seconds", str(seconds)])
        return dict(json.loads(capsys.readouterr().out))

    stopped = piece(0)
    assert (stopped["done"], stopped["next"]) == (False, "train")
    done = piece(300)
    assert done["done"] and done["users"] == pq.read_metadata(tables / "test_targets.parquet").num_rows
    assert 0 <= done["masked"]["ndcg_at_10"] <= done["masked"]["recall_at_10"] <= 1
    again = piece(300)
    assert "piece_seconds" not in again and again["masked"] == done["masked"]
    assert again["train_seconds"] == done["train_seconds"]
