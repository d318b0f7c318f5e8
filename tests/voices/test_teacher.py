"""What a voice teaches a training: lists at each place of the histories, from what other users did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput
from components.recommender.batches.soft_targets import Teacher
from components.settings.train import Distillation
from components.voices.folds import learned_of
from components.voices.teacher import write

ITEMS = [f"i{number:02d}" for number in range(12)]


def tables(folder: Path, histories: list[list[str]]) -> tuple[Path, Path]:
    """Users with ids that do not rise with their rows."""
    folder.mkdir()
    items, taken = folder / "items.parquet", folder / "histories.parquet"
    titles = [f"thing {number % 4} of shelf {number % 3}" for number in range(len(ITEMS))]
    pq.write_table(pa.table({"item_id": ITEMS, "title": titles}), items)
    users = [f"u{99 - row}" for row in range(len(histories))]
    pq.write_table(pa.table({"user_id": users, "history": histories}), taken)
    return items, taken


def drawn(users: int = 40) -> list[list[str]]:
    draw = np.random.default_rng(3)
    return [[ITEMS[item] for item in (draw.integers(12) + np.arange(5)) % 12] for _ in range(users)]


def teacher(folder: Path, histories: list[list[str]]) -> Teacher:
    """That of a graph alone, so that all it says comes from histories."""
    items, taken = tables(folder, histories)
    return Teacher.load(write(folder / "teacher", items, taken, Distillation(voice="graph"), seed=1))


def test_a_user_teaches_nothing_to_itself(tmp_path: Path) -> None:
    """Prevents: a target, or what came after it, in what is said of its place."""
    histories = drawn()
    before = teacher(tmp_path / "before", histories)
    changed = [list(history) for history in histories]
    changed[7][3:] = ["i11", "i11"]
    after = teacher(tmp_path / "after", changed)
    row = len(histories) - 1 - 7  # users are sorted by id
    places = before.read.offsets[row] + np.arange(4)
    assert before.items.lengths_of(places)[1:].all(), "or there would be nothing to see"
    for place in places:
        assert before.items.row(place).tolist() == after.items.row(place).tolist()
    assert any(a.tolist() != b.tolist() for a, b in zip(before.items, after.items, strict=True)), "nor to others"


def test_users_without_times_teach_and_are_taught(tmp_path: Path) -> None:
    """Prevents: a traceback, or days of another user, where one time of a user is unknown: `clean` gives it no list."""
    histories = drawn()
    items, taken = tables(tmp_path / "shop", histories)
    times = [[1_000_000 * 86_400 * day for day in range(16_000, 16_000 + len(each))] for each in histories]
    some = pa.array(
        [None if row % 3 == 0 else each for row, each in enumerate(times)], pa.list_(pa.timestamp("us", "UTC"))
    )
    pq.write_table(pq.read_table(taken).append_column("timestamps", some), taken)
    learned = learned_of(items, taken, drop_repeats=True)
    for user in range(len(histories)):
        days = learned.of_users(np.array([user])).days
        row = len(histories) - 1 - user  # users are sorted by id
        expected = [np.nan] * len(days) if row % 3 == 0 else [16_000.0 + day for day in range(len(days))]
        assert np.array_equal(days, expected, equal_nan=True)
    assert Teacher.load(
        write(tmp_path / "teacher", items, taken, Distillation(voice="graph"), seed=1)
    ).items.lengths.any()


def test_shares_are_of_items_that_come_next(tmp_path: Path) -> None:
    histories = drawn()
    found = teacher(tmp_path / "shop", histories)
    sums = np.add.reduceat(found.shares, found.items.offsets[:-1][found.items.lengths > 0])
    assert np.allclose(sums, 1.0) and not found.items.lengths_of(found.read.offsets[:-1]).any()
    first = [int(row[0]) for row in found.items if len(row)]
    wanted = [int(found.read.values[place]) for place, row in enumerate(found.items) if len(row)]
    assert np.mean(np.array(first) == wanted) > 0.8
    for place, row in enumerate(found.items):
        begin = found.read.starts_of(place)
        assert not set(row.tolist()) & set(found.read.values[begin:place].tolist())


def test_what_cannot_teach_is_refused(tmp_path: Path) -> None:
    items, taken = tables(tmp_path / "shop", drawn(6))
    for voice in ("grapf", "sequence"):
        with pytest.raises(BadInput):
            write(tmp_path / "teacher", items, taken, Distillation(voice=voice), seed=1)
    assert not (tmp_path / "teacher").exists()
