"""Names in MLflow: the answer first, cost apart, no idle series, runs by what changed; and the stamped pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.evaluation.contenders import CONTENDERS, logged_as
from components.progress import reporting
from components.registry.log import metric_values
from components.registry.names import ANSWER, logged_name, run_name
from components.registry.pages import report_to_show
from components.registry.register import register
from components.registry.store import connect
from components.registry.tracking import TrainingRun
from components.registry.view import TAG
from components.settings.file import from_dict
from components.storage.artifacts import read_json
from components.storage.manifest import write_manifest
from tests.registry.workspace import build

FIGURES = {
    "cold_start/loss": 1.5,
    "cold_start/batches_per_s": 3.0,
    "recommender/loss": 2.0,
    "recommender/epoch": 1.0,
    "recommender/round": 1.0,
    "recommender/target_tokens": 99.0,
    "recommender/padding_share": 0.1,
    "seconds/recommender_1": 7.0,
    "peak_rss_mib/recommender_1": 500.0,
}


def trained(workspace: Path, key: str, **settings: object) -> str:
    """Train, so to speak, and register; the run's id."""
    layout, _ = build(workspace, weights=key.encode())
    (layout.pair / "pair.json").write_text(json.dumps({"train_key": key}))
    write_manifest(layout.pair)
    params = from_dict({"dataset": "tiny", "evaluate": {"ks": [2, 5]}, **settings})
    with TrainingRun(workspace, params, key) as sink, reporting(sink) as progress:
        progress.metrics(FIGURES, step=1)
    register(params, layout)
    return sink.run_id


def test_mlflow_leads_with_the_answer(workspace: Path) -> None:
    """Prevents 122 figures sorted by name, of which cold_start/batches_per_s is the first; a table of runs without one
    figure; names that are hashes; a version with a page of tags; and results user by user that nobody finds."""
    run_id = trained(workspace, "f00d" * 16)
    client = connect(workspace)
    run = client.get_run(run_id)
    names = sorted(run.data.metrics)
    assert names[0].startswith(f"{ANSWER}/") and len([name for name in names if name.startswith(f"{ANSWER}/")]) < 10
    assert {name for name in names if "batches_per_s" in name or "seconds" in name or "mib" in name} == {
        "system/cold_start/batches_per_s",
        "system/seconds/recommender_1",
        "system/peak_rss_mib/recommender_1",
    }
    assert {"cold_start/loss", "recommender/loss"} <= set(names)
    assert not [name for name in names if name.endswith(("/epoch", "/round", "target_tokens"))]

    metrics = read_json(build(workspace)[0].metrics)
    own = metrics["masked"]["model"]["ndcg_at_5"]
    assert run.data.metrics["answer/ndcg_at_5"] == own
    graph = run.data.metrics["answer/ndcg_over_item_graph"]
    assert graph == pytest.approx(own - metrics["masked"]["item_graph"]["ndcg_at_5"], abs=1e-5)
    assert run.data.metrics["answer/ndcg_over_item_graph_low"] <= graph

    tags = client.get_experiment(run.info.experiment_id).tags
    columns = json.loads(json.loads(tags[TAG])["state"])["selectedColumns"]
    assert columns[0] == "metrics.`answer/recall_at_5`" and "metrics.`answer/ndcg_over_item_graph`" in columns

    assert "per_user.parquet" in {each.path for each in client.list_artifacts(run_id)}
    version = client.get_model_version("idiom", "1")
    assert len(version.tags) <= 6
    assert sorted(version.tags.items(), key=lambda tag: -len(tag[1]))[0][0] == "idiom.bundle_sha256"
    assert version.tags["idiom.validation"] == "passed, 1 not met"


def test_the_answer_sorts_before_every_contender() -> None:
    """Prevents a new voice, or a phase, whose figures come before those that decide."""
    groups = [*map(logged_as, CONTENDERS), "cold_start", "generator", "index", "recommender", "system"]
    assert all(group > ANSWER for group in groups)
    assert logged_name("recommender/valid_ndcg_at_10") == "recommender/valid_ndcg_at_10"


def test_runs_are_named_by_what_changed(workspace: Path) -> None:
    """Prevents demo-1f0c9a3e beside demo-77aa01bc, of which nobody knows which had three rounds."""
    first = trained(workspace, "f00d" * 16)
    second = trained(workspace, "beef" * 16, train={"rounds": 3})
    client = connect(workspace)
    assert [client.get_run(each).info.run_name for each in (first, second)] == [
        "tiny: first training",
        "tiny: train.rounds=3",
    ]
    before = {"train.rounds": "2", "seed": "17", "train.size": "small", "evaluate.beams": "20"}
    for changes, data, code, said in (
        ({"evaluate.beams": "50"}, True, "3c24dfb1d", "shop: code 3c24dfb"),
        ({}, False, "", "shop: new data"),
        ({"seed": "18"}, False, "", "shop: new data, seed=18"),
        ({"seed": "1", "train.rounds": "3", "train.size": "big"}, True, "", "shop: seed=1, train.rounds=3, 1 more"),
    ):
        assert run_name("shop", before, before | changes, same_data=data, code=code) == said


def test_the_registered_report_says_when_and_of_what(workspace: Path) -> None:
    """Prevents a printed report that nobody can trace, and a stamp of an earlier evaluation on a later page."""
    run_id = trained(workspace, "f00d" * 16)
    layout, _ = build(workspace, weights=b"f00d" * 16)
    page = layout.registered_report.read_text(encoding="utf-8")
    assert "idiom version 1, 20" in page and " UTC" in page and "Not in this file" not in page
    assert "Not in this file" in layout.report.read_text(encoding="utf-8"), "the output of the graph has no clock"
    client = connect(workspace)
    assert Path(client.download_artifacts(run_id, "report.html")).read_text(encoding="utf-8") == page


def test_a_registered_report_is_shown_until_something_else_is_evaluated(workspace: Path) -> None:
    """Prevents a link to the report of the night before."""
    layout, params = build(workspace)
    assert report_to_show(layout) == layout.report
    register(params, layout)
    assert report_to_show(layout) == layout.registered_report
    layout.metrics.write_text(layout.metrics.read_text() + " ")
    assert report_to_show(layout) == layout.report


def test_figures_of_a_search_are_no_answer_of_a_test(workspace: Path) -> None:
    """Prevents a grid that judges on validation and stands in MLflow as if it had been tested."""
    from components.registry.ablation import _judged_on

    values = metric_values(read_json(build(workspace)[0].metrics))
    named = {_judged_on("valid", name) for name in values}
    assert "answer/valid_ndcg_at_5" in named and "valid/ndcg_at_5" in named
    assert not [name for name in named if name.startswith("test") or name == "answer/ndcg_at_5"]
