"""A stage is a function and an entry in dvc.yaml: docs/architecture.md, "How do I add a stage"."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from components.storage.layout import Layout
from flows import graph
from tests.extending.recipes import code, insert
from tests.workspaces import command, make_workspace


@pytest.mark.slow
def test_a_stage_is_a_function_and_an_entry_in_the_graph(tmp_path: Path) -> None:
    """Prevents: a third place that has to know the stages, so that one way of running the graph misses the new one."""
    root = make_workspace(tmp_path / "house", {})
    added = code("A stage")
    assert set(added) == {"components/storage/layout.py", "components/stages.py", "dvc.yaml"}
    insert(root / "components/storage/layout.py", "\n" + added["components/storage/layout.py"])
    stages = root / "components/stages.py"
    insert(stages, added["components/stages.py"] + "\n\n", before="def validate(workspace")
    insert(stages, '    "popular": popular,\n', after='    "ingest": ingest,\n')
    insert(root / "dvc.yaml", added["dvc.yaml"] + "\n", before="# `dvc plots show`")

    order = {each.name: each for each in graph.read(root)}
    assert order["popular"].upstream == ("ingest",) and order["popular"].cmd == "python -m components popular"
    assert list(order).index("popular") > list(order).index("ingest")
    done = command(root, "dvc", "repro", "popular")
    assert done.returncode == 0, done.stdout + done.stderr
    layout = Layout(root, "demo")
    found = json.loads((layout.root / "popular" / "items.json").read_text())
    counts = pl.read_parquet(layout.interactions)["item_id"].value_counts()
    assert len(found) == 10 and sorted(found.values()) == counts["count"].sort()[-10:].to_list()
    again = command(root, "dvc", "repro", "popular")
    assert "'popular' didn't change" in again.stdout
