"""What DVC shows: learning curves from a training log, and the few figures that decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.errors import BadInput
from components.evaluation.curves import publish_curves
from components.evaluation.headline import headline_figures


def write_log(pair: Path, *rows: object) -> None:
    pair.mkdir(exist_ok=True)
    (pair / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_one_file_a_curve_without_gaps(tmp_path: Path) -> None:
    """Prevents one table of all curves, whose empty cells Vega draws as zeros, and series that are constant."""
    epoch = {"event": "epoch", "round": 1, "lr": 0.1}
    write_log(
        tmp_path / "pair",
        {**epoch, "phase": "cold_start", "steps": 5, "loss": 4.0},
        {"event": "index", "round": 1, "steps": 5},
        {**epoch, "phase": "recommender", "steps": 9, "loss": 3.5, "valid_ndcg_at_10": 0.25},
        {**epoch, "phase": "recommender", "steps": 13, "loss": 3.25, "valid_ndcg_at_10": 0.5},
        {"event": "chosen", "round": 1, "epoch": 2},
    )
    publish_curves(tmp_path / "pair", tmp_path / "curves")
    assert {file.name: file.read_text() for file in (tmp_path / "curves").iterdir()} == {
        "cold_start_loss.csv": "step,value\n5,4.0\n",
        "recommender_loss.csv": "step,value\n9,3.5\n13,3.25\n",
        "recommender_valid_ndcg_at_10.csv": "step,value\n9,0.25\n13,0.5\n",
    }


def test_a_pair_without_a_log_leaves_a_folder_that_dvc_can_restore(tmp_path: Path) -> None:
    """Prevents an empty output, which DVC does not make again, so that a clone that pulls runs `evaluate` anew."""
    (tmp_path / "pair").mkdir()
    publish_curves(tmp_path / "pair", tmp_path / "curves")
    assert [file.read_text() for file in (tmp_path / "curves").iterdir()] == ["step,value\n"]


@pytest.mark.parametrize("row", [7, {"loss": 1}, {"event": "epoch", "loss": 1.0}, "epoch"])
def test_what_is_no_log_is_refused(tmp_path: Path, row: object) -> None:
    write_log(tmp_path / "pair", {"event": "index"}, row)
    with pytest.raises(BadInput, match=r"not a line of a training log[\s\S]*line 2"):
        publish_curves(tmp_path / "pair", tmp_path / "curves")


def test_the_headline_fits_a_line() -> None:
    """Prevents a line of `dvc metrics show` wider than a terminal, lists, which DVC leaves out without a word, and the
    gain over a baseline that is easily beaten."""
    found = {"recall_at_5": 0.51234, "recall_at_10": 0.9, "ndcg_at_5": 0.4, "ndcg_at_10": 0.5}
    gains = {"popularity": 0.3, "item_graph": -0.00001}
    metrics = {
        "protocol": {"headline": "masked", "headline_k": 5},
        "masked": {"model": found},
        "against": {
            who: {name: {"difference": gain, "interval": [gain - 0.1, 0.5]} for name in found}
            for who, gain in gains.items()
        },
    }
    figures = headline_figures(metrics)
    expected = {"over_baseline": 0.0, "over_baseline_low": -0.1}
    assert figures == {"recall_at_5": 0.5123, "ndcg_at_5": 0.4, **expected}
    assert "-0.0," not in json.dumps(figures), "a zero without a sign"
