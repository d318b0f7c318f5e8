"""benchmarks/walk_forward: a row knows what is earlier, nothing else; what a window holds is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.walk_forward.rows import UPDATES, Walk, update
from benchmarks.walk_forward.table import interval
from benchmarks.walk_forward.windows import Timeline
from components.settings.params import Params
from components.settings.train import ContinualTraining
from components.storage.ragged import Ragged


@pytest.fixture
def timeline() -> Timeline:
    """Ten users, ten events on the days 0 to 99; items appear by and by."""
    random = np.random.default_rng(3)
    days = np.sort(random.permutation(100).reshape(10, 10), axis=1).astype(float)
    items = [[int(day) // 4 for day in row] for row in days]
    names = pl.DataFrame({"item_id": [f"i{n}" for n in range(25)], "text": [f"soap {n}" for n in range(25)]})
    return Timeline(names, tuple(f"u{n}" for n in range(10)), Ragged.of(items), days.ravel())


def test_a_row_knows_what_is_earlier(timeline: Timeline, tmp_path: Path) -> None:
    """Prevents a walk that has seen where it goes: an event, a user or an item of a later day."""
    assert timeline.cuts.tolist() == [50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
    asked = np.concatenate([timeline.cases(window) for window in (1, 2, 3, 4)])
    assert sorted(timeline.days[asked]) == list(range(60, 100)), "each later event is asked once"
    for window in (0, 1, 2, 3, 4):
        start, end = timeline.cuts[window : window + 2]
        users, rows, days = timeline.known(window)
        assert np.concatenate(days).max() == start - 1
        assert sum(map(len, rows)) == start == sum(map(len, days))
        assert len(users) == len(rows)
        listed = timeline.listed(window)
        assert timeline.first_day[listed].max() < end
        assert set(range(25)) - set(listed.tolist()) == set(range(-(-int(end) // 4), 25))
        folder = timeline.tables(window, tmp_path / str(window))
        assert pl.read_parquet(folder / "items.parquet")["item_id"].to_list() == [f"i{n}" for n in listed]
        assert pl.read_parquet(folder / "histories.parquet")["history"].list.len().sum() == start
        assert pl.read_parquet(folder / "valid_targets.parquet").is_empty()
        owners, last, slices = timeline.kinds(window)
        assert {*np.concatenate(list(slices.values())).tolist()} == {*range(len(owners))}, "each is in a slice"
        assert len(last) == len(set(owners.tolist()))


def test_a_row_is_what_its_settings_are(timeline: Timeline, tmp_path: Path) -> None:
    """Prevents an answer of other settings read from the folder of before, and a setting on a window that counts."""
    assert update("rate=0.5,epochs=8") == ContinualTraining(rate=0.5, epochs=8)
    assert update("scratch") is None and update("continual") == ContinualTraining() == UPDATES["continual"]
    walk = Walk(timeline, Params(), tmp_path, beams=5)
    assert walk._name("continual", 2) == walk._name("rate=1.0", 2) != walk._name("finetuned", 2)
    assert walk._name("continual", 1) == "scratch", "the base is one model"
    assert Walk(timeline, Params(), tmp_path, beams=5, base=0)._name("continual", 1) != "scratch"


def test_a_ratio_of_equals_is_one() -> None:
    values, owners = np.array([0.5, 0.0, 1.0, 0.2]), np.array([1, 1, 2, 3])
    assert interval(values, values, owners, seed=1) == (1.0, 1.0)
    low, high = interval(values * [1, 1, 0, 1], values, owners, seed=1)
    assert low < 0.5 < high <= 1.0
