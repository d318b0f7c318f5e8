"""`idiom backfill`: a window knows nothing of what came after it, a killed run goes on, MLflow has one run a window."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

import components.stages
from components.errors import BadInput
from components.registry.store import connect
from components.settings.file import from_dict, load
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout
from flows.backfill import STAGES, _from_the_beginning, _place, _windows, backfill, days_between
from tests.workspaces import MICRO, make_workspace

DAYS = days_between(date(2024, 6, 30), date(2024, 10, 1), 90)


def test_days() -> None:
    """Prevents: a last window beyond the end, and thousands of trainings by a slip of the keyboard."""
    assert [date(2024, 6, 30), date(2024, 9, 28)] == DAYS
    with pytest.raises(BadInput, match="no day"):
        days_between(date(2024, 2, 1), date(2024, 1, 1), 7)
    with pytest.raises(BadInput, match="windows"):
        days_between(date(2000, 1, 1), date(2024, 1, 1), 1)


def test_a_window_has_all_stages_but_the_last() -> None:
    """Prevents: words and vectors of views that are silently missing from every window."""
    assert (*STAGES, "register") == tuple(components.stages.STAGES)


def test_a_window_begins_anew_and_finds_the_models_of_the_workspace(tmp_path: Path) -> None:
    """Prevents: a window that goes on from a champion of today, or that lacks a folder that params.yaml names."""
    (tmp_path / "data").mkdir()
    (tmp_path / "models" / "eyes").mkdir(parents=True)
    (tmp_path / "work" / "bundles" / "abc").mkdir(parents=True)
    sections = {
        "dataset": "demo",
        "ingest": {"path": "data"},
        "train": {"start": "work/bundles/abc"},
        "views": {"pictures": "transformers", "model": "models/eyes"},
        "rank": {"encoders": {"own": "artifacts/demo/train/pair", "hub": "owner/name"}},
    }
    said: list[str] = []
    params = _from_the_beginning(from_dict(sections), lambda line: said.append(str(line)))
    assert params.train.start is None and "work/bundles/abc" in said[0]
    (window,) = _windows(tmp_path, params, DAYS[:1])
    place = _place(tmp_path / "work" / "backfill", tmp_path, window)
    assert (place / "models" / "eyes").is_dir() and not (place / "artifacts").exists()
    adapted = from_dict({**sections, "train": {"start": "work/bundles/abc", "start_elsewhere": True}})
    assert _from_the_beginning(adapted, print) is adapted
    with pytest.raises(BadInput, match="of one catalogue"):
        _from_the_beginning(from_dict({**sections, "train": {}, "catalogues": {"other": {}}}), print)


@pytest.mark.slow
def test_windows_killed_and_gone_on_with_on_dask_too(tmp_path: Path) -> None:
    """Prevents: a finished window run again, two children of one window, a window that sees the future."""
    root = make_workspace(tmp_path, {**MICRO, "train": {**MICRO["train"], "rounds": 1}})
    params = load(root / "params.yaml")
    command = ["backfill", "--from", str(DAYS[0]), "--to", "2024-10-01", "--every", "90", "--workspace", str(root)]
    killed = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    folder, until = root / "work" / "backfill", time.monotonic() + 600
    while not [path for path in folder.glob("*/state.json") if "clean" in read_json(path)["done"]]:
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said: list[str] = []
    assert backfill(root, params, DAYS, every=90, jobs=1, dask=None, say=lambda line: said.append(str(line))) == 0, said
    assert any(line.startswith(f"until {DAYS[0]}: goes on after ingest, validate, views, clean") for line in said), said
    places = sorted(path.parent for path in folder.glob("*/state.json"))
    assert len(places) == 2 and all(read_json(place / "state.json")["done"] == list(STAGES) for place in places)
    newest = {place: pl.read_parquet(Layout(place, "demo").interactions)["timestamp"].max().date() for place in places}
    assert sorted(newest.values()) <= DAYS and min(newest.values()) > date(2024, 6, 20)

    # Again: nothing is done twice. What one window lacks is done by a worker of Dask.
    before = {place: (place / "state.json").read_text() for place in places}
    assert backfill(root, params, DAYS, every=90, jobs=1, dask=None, say=print) == 0
    assert {place: (place / "state.json").read_text() for place in places} == before
    state = read_json(places[0] / "state.json")
    publish_json(places[0] / "state.json", {**state, "done": state["done"][:-1]})
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        assert backfill(root, params, DAYS, every=90, jobs=1, dask=address, say=print) == 0
    assert read_json(places[0] / "state.json")["done"] == list(STAGES)

    client = connect(root)
    experiment = client.get_experiment_by_name("demo-backfill")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "idiom.grid" in run.data.tags]
    children = [run for run in runs if "idiom.cell" in run.data.tags]
    assert sorted(run.info.run_name for run in children) == [f"until {day}" for day in DAYS]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED" and all("answer/ndcg_at_10" in run.data.metrics for run in children)

    # Another range finds what this one did, and its parent has the figures too.
    assert backfill(root, params, DAYS[:1], every=90, jobs=1, dask=None, say=lambda line: said.append(str(line))) == 0
    assert "windows: 1, done already: 1" in said
    known = {parent.info.run_id, *(each.info.run_id for each in children)}
    more = [each for each in client.search_runs([experiment.experiment_id]) if each.info.run_id not in known]
    (other,) = [each for each in more if "idiom.cell" in each.data.tags]
    assert "answer/ndcg_at_10" in other.data.metrics
