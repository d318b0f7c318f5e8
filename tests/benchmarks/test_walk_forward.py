"""benchmarks/walk_forward.py: a row knows what is earlier, nothing else; what a window holds is asked."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.walk_forward import Events, Walk, interval
from components.settings.params import Params
from components.storage.ragged import Ragged


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    """Ten users, ten events on the days 0 to 99; items appear by and by."""
    random = np.random.default_rng(3)
    days = np.sort(random.permutation(100).reshape(10, 10), axis=1).astype(float)
    items = [[int(day) // 4 for day in row] for row in days]
    names = pl.DataFrame({"item_id": [f"i{n}" for n in range(25)], "text": [f"soap {n}" for n in range(25)]})
    events = Events(names, tuple(f"u{n}" for n in range(10)), Ragged.of(items), days.ravel())
    return Walk(events, Params(), tmp_path, argparse.Namespace(targets=0))


def test_a_row_knows_what_is_earlier(walk: Walk) -> None:
    """Prevents a walk that has seen where it goes: an event, a user or an item of a later day."""
    assert walk.events.cuts.tolist() == [60.0, 70.0, 80.0, 90.0, 100.0]
    asked = np.concatenate([walk.cases(window) for window in (1, 2, 3, 4)])
    assert sorted(walk.events.days[asked]) == list(range(60, 100)), "each later event is asked once"
    for window in (1, 2, 3, 4):
        start, end = walk.events.cuts[window - 1 : window + 1]
        users, rows, days = walk.known(window)
        assert np.concatenate(days).max() == start - 1
        assert sum(map(len, rows)) == start == sum(map(len, days))
        assert len(users) == len(rows)
        listed = walk.listed(window)
        assert walk.events.first_day[listed].max() < end
        assert set(range(25)) - set(listed.tolist()) == set(range(-(-int(end) // 4), 25))
        folder = walk._tables(window)
        assert pl.read_parquet(folder / "items.parquet")["item_id"].to_list() == [f"i{n}" for n in listed]
        assert pl.read_parquet(folder / "histories.parquet")["history"].list.len().sum() == start
        assert pl.read_parquet(folder / "valid_targets.parquet").is_empty()


def test_a_ratio_of_equals_is_one() -> None:
    values, owners = np.array([0.5, 0.0, 1.0, 0.2]), np.array([1, 1, 2, 3])
    assert interval(values, values, owners, seed=1) == (1.0, 1.0)
    low, high = interval(values * [1, 1, 0, 1], values, owners, seed=1)
    assert low < 0.5 < high <= 1.0
