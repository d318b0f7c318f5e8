"""A grid in MLflow: which run the figures of a cell stand in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.registry.ablation import GridRuns
from components.registry.store import connect
from components.settings.params import Params


def test_figures_stand_beside_the_parameters_that_made_them(tmp_path: Path) -> None:
    """Prevents: after an edit of the grid, figures of 50 beams in a run that says 20."""
    runs = GridRuns.open(tmp_path, "shop-ablations", "grid", {"few": {"evaluate.beams": 20}})
    few = Params()
    many = replace(few, evaluate=replace(few.evaluate, beams=50))
    first, second, again = (runs.child("few", "key", params, trains=False) for params in (few, many, few))
    assert first == again != second
    beams = [connect(tmp_path).get_run(run).data.params["evaluate.beams"] for run in (first, second)]
    assert beams == ["20", "50"]
