"""The benchmark of growth measures what it says."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import growth
from components.training.job import Job
from components.training.packed import dataset


def test_each_multiple_is_measured_for_both_phases(tmp_path: Path) -> None:
    """Prevents a growth of nothing: four times the users are four times the epoch, and every phase has run."""
    arguments = argparse.Namespace(
        size="d_model=16,layers=1,heads=2,d_ff=32", users=4, times=[1, 4], device="cpu", family="encoder-decoder"
    )
    growth.write(tmp_path, arguments)
    users = [len(dataset.load(Job.load(tmp_path / f"{times}.json")).histories) for times in (1, 4)]
    assert users == [4, 16]
    growth.measure(tmp_path)
    seconds = json.loads((tmp_path / "seconds.json").read_text())
    assert {phase: sorted(by) for phase, by in seconds.items()} == {"recommender": ["1", "4"], "generator": ["1", "4"]}


def test_growth_and_ratios_are_what_the_docstring_says() -> None:
    """Prevents a ratio the wrong way round."""
    one, two = {"1": 1.0, "2": 2.5, "4": 4.0}, {"1": 1.0, "2": 1.5, "4": 2.0}
    found = growth.figures({ranks: dict.fromkeys(growth.PHASES, s) for ranks, s in ((1, one), (2, two))})
    assert (found["growth_generator_1x"], found["growth_generator_2x"], found["growth_generator_4x"]) == (1, 1.25, 1)
    assert (found["ratio_recommender_1_ranks"], found["ratio_recommender_2_ranks"]) == (1, 2)
    assert found["seconds_recommender_4x_2"] == 2.0
