"""A baseline is a file and an entry: docs/architecture.md, "How do I add a baseline"."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.figure import Figure

from components import voices
from components.evaluation import plots, summary
from components.evaluation.contenders import CONTENDERS, MODEL, VARIANTS, Contender, baselines
from components.evaluation.metrics_file import read_metrics
from components.registry.log import metric_values
from components.registry.register import headline
from components.settings.params import Params
from components.storage.layout import Layout
from flows import results
from flows.ablation.table import Result
from flows.ablation.table import rows as ablation_rows
from tests.extending.recipes import code
from tests.registry.workspace import build

NAME, FILE, ENTRY = "newest", "components/voices/newest.py", "components/evaluation/contenders.py"


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The recipe, followed in this process: its file beside the other voices, its entry in their table."""
    added = code("A baseline")
    assert set(added) == {FILE, ENTRY}
    (tmp_path / Path(FILE).name).write_text(added[FILE])
    monkeypatch.setattr(voices, "__path__", [*voices.__path__, str(tmp_path)])
    for name, contender in eval(f"{{{added[ENTRY]}}}", {"Contender": Contender}).items():
        monkeypatch.setitem(CONTENDERS, name, contender)
    yield
    sys.modules.pop(f"{voices.__name__}.{NAME}", None)


@pytest.fixture
def judged(third: None, tmp_path: Path) -> tuple[Layout, Params]:
    return build(tmp_path / "workspace")


def test_a_third_baseline_is_everywhere(judged: tuple[Layout, Params]) -> None:
    """Prevents a baseline whose figures are counted and not shown, or one that needs five more edits."""
    layout, params = judged
    assert baselines() == ["newest", "popularity", "item_graph"]
    metrics = read_metrics(layout.metrics)
    for section in (*VARIANTS, "intervals"):
        assert set(metrics[section]) == {MODEL, *baselines()}
    assert set(metrics["against"]) == set(baselines())
    assert all("newest" in group for groups in metrics["slices"].values() for group in groups.values())
    assert {f"newest_{variant}" for variant in VARIANTS} <= set(pl.read_parquet(layout.per_user).columns)

    assert any("the newest items of all histories" in line for line in summary.sentences(metrics))
    assert "| Idiom | item graph | popularity | newest items |" in summary.markdown(metrics)
    page = layout.report.read_text(encoding="utf-8")
    assert '<th scope="col" class="n">newest items</th>' in page and "the newest items of all histories" in page

    logged = metric_values(metrics)
    assert {"newest/recall_at_5", "newest_unmasked/ndcg_at_2", "newest/ndcg_at_5_low"} <= set(logged)
    assert "newest/recall_at_5" in headline(metrics)
    assert list(results.table(layout.workspace, params)[0]) == ["metric", MODEL, *baselines()]
    table = ablation_rows([Result("all", 17, metrics=metrics)], "all")
    assert [row["variant"] for row in table] == ["all", "item_graph", "popularity", "newest"]


@pytest.mark.parametrize("painter", ["line", "whiskers"])
def test_a_third_baseline_is_drawn_beside_the_others(judged: tuple[Layout, Params], painter: str) -> None:
    """Prevents pictures that raise with four to show, and whiskers that cover each other."""
    metrics: Any = read_metrics(judged[0].metrics)
    axes = Figure().add_subplot()
    if painter == "line":
        plots._recall_by_k(axes, metrics)
        assert [line.get_label() for line in axes.lines] == [each.label for each in CONTENDERS.values()]
        return
    plots._by_slice("target")(axes, metrics)
    baselines = [each.label for name, each in CONTENDERS.items() if name != MODEL]
    assert [whiskers.get_label() for whiskers in axes.containers] == baselines
    places = sorted(float(place) for whiskers in axes.containers for place in whiskers.lines[0].get_ydata())
    assert all(below < above for below, above in pairwise(places))
