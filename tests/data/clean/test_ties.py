"""The order of interactions at the same time: as the file has it, drawn, or unknown; and the k-core of the training."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.clean import numbering, split, ties
from components.data.clean.clean import clean
from components.errors import BadInput
from components.settings import params
from components.storage.layout import Layout
from components.storage.manifest import sha256
from tests.data.tables_of import START, catalogue, events, interactions, shop, workspace

LOOSE: dict[str, Any] = {"min_user_interactions": 3, "min_item_interactions": 1}
CODES = [f"i{number}" for number in range(9)]


def one_day(users: int, codes: list[str]) -> pl.DataFrame:
    """Users with one item yesterday and all others on one day, in the order of the codes."""
    return interactions(
        [
            (f"u{user:04}", code, START + timedelta(days=bool(place)))
            for user in range(users)
            for place, code in enumerate(codes)
        ]
    )


def cleaned(folder: Path, rows: pl.DataFrame, titles: dict[str, str | None], **how: Any) -> Layout:
    layout = workspace(folder, catalogue(titles), rows, passed=True)
    clean(params.Clean(**LOOSE | how), 17, layout)
    return layout


def sequences(layout: Layout) -> dict[str, list[str]]:
    """Each user's items in order: history, context and target."""
    table = pl.read_parquet(layout.histories).join(pl.read_parquet(layout.test_targets), on="user_id")
    return {row["user_id"]: [*row["history"], *row["context"], row["target"]] for row in table.iter_rows(named=True)}


def test_a_drawn_order_is_as_likely_as_any_other(tmp_path: Path) -> None:
    """Prevents: ties that still ascend, a draw that is the same for all users, and one that only turns pairs around."""
    titles: dict[str, str | None] = {code: f"Thing {code}" for code in CODES[:4]}
    layout = cleaned(tmp_path, one_day(1200, CODES[:4]), titles, ties="shuffle")
    found = Counter(tuple(items) for items in sequences(layout).values())
    assert {items[0] for items in found} == {"i0"}  # the day before stays before
    assert len(found) == 6
    assert all(150 < count < 250 for count in found.values()), found  # 200 each; six standard deviations are 77


def test_a_drawn_order_depends_on_users_and_texts_alone(tmp_path: Path) -> None:
    """Prevents: an order that follows the rows of the file or the ids of items, which is what it is drawn against."""
    rows, titles = one_day(40, CODES), {code: f"Thing {code}" for code in CODES}
    renamed = {code: f"x{(7 * place + 3) % 9}" for place, code in enumerate(CODES)}
    turned = rows.sort("user_id", pl.col("position"), descending=[False, True]).sort("user_id", "timestamp")
    turned = turned.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("user_id"))
    first = sequences(cleaned(tmp_path / "a", rows, dict(titles), ties="shuffle"))
    assert sequences(cleaned(tmp_path / "b", turned, dict(titles), ties="shuffle")) == first
    other = rows.with_columns(pl.col("item_id").replace_strict(renamed))
    again = sequences(
        cleaned(tmp_path / "c", other, {renamed[code]: title for code, title in titles.items()}, ties="shuffle")
    )
    assert again == {user: [renamed[item] for item in items] for user, items in first.items()}
    layout = workspace(tmp_path / "d", catalogue(dict(titles)), rows, passed=True)
    clean(params.Clean(**LOOSE, ties="shuffle"), 18, layout)
    assert sequences(layout) != first


def test_the_order_of_the_file_is_the_default_and_the_other_one_is_kept_beside_it(tmp_path: Path) -> None:
    """Prevents: papers' order changed without a word, and an evaluation that has to guess the order not chosen."""
    titles: dict[str, str | None] = {code: f"Thing {code}" for code in CODES}
    rows = pl.concat([one_day(30, CODES), interactions(events({"zoe": "i3 i1 i2 i0"}))])
    layouts = {how: cleaned(tmp_path / how, rows, titles, ties=how) for how in ("file", "shuffle")}
    assert set(map(tuple, sequences(layouts["file"]).values())) == {tuple(CODES), ("i3", "i1", "i2", "i0")}
    for how, beside in (("file", "shuffle"), ("shuffle", "file")):
        whole = sequences(layouts[beside])
        del whole["zoe"]  # without a tie there is no other order
        names = {f"{name}": layouts[how].other_order / f"{name}.parquet" for name in ("histories", "test_targets")}
        table = pl.read_parquet(names["histories"]).join(pl.read_parquet(names["test_targets"]), on="user_id")
        other = {
            row["user_id"]: [*row["history"], *row["context"], row["target"]] for row in table.iter_rows(named=True)
        }
        assert other == {user: items for user, items in whole.items() if items != sequences(layouts[how])[user]}
        assert len(other) >= 29


def test_without_ties_there_is_no_other_order(tmp_path: Path) -> None:
    """Prevents: a second copy of all tables for a shop whose times are exact."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows, passed=True)
    assert clean(params.Clean(**LOOSE), 17, layout)["ties"]["users_otherwise"] == 0
    for name in ("histories", "valid_targets", "test_targets"):
        assert pl.read_parquet(layout.other_order / f"{name}.parquet").is_empty()


_DAYS = st.dictionaries(
    st.sampled_from("pqrst"), st.lists(st.integers(0, 2) | st.none(), min_size=1, max_size=7), min_size=1
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_DAYS)
def test_targets_that_are_sets_equal_the_reference(gaps: dict[str, list[int | None]]) -> None:
    """Prevents: an item at the time of a target in the prompt before it, and a right item that counts as wrong."""
    rows, expected = [], {}
    for user, steps in sorted(gaps.items()):
        days: list[list[str]] = []
        moment = START
        for place, gap in enumerate(steps):
            moment += timedelta(days=gap or 0)
            if gap is None or not days or (place and (gap or steps[place - 1] is None)):
                days.append([])
            days[-1].append(f"{user}{place}")
            rows.append((user, f"{user}{place}", None if gap is None else moment))
        told = days if len(days) < 2 else days[:-1] if len(days) < 3 else days[:-2]
        expected[user] = ([item for day in told for item in day], days)
    table = interactions(rows).rename({"user_id": "user", "item_id": "item"})
    parted = split.with_parts(table, sets=True)
    histories = dict(split.histories(parted).collect().select("user", "history").iter_rows())
    assert histories == {user: history for user, (history, _) in expected.items()}
    valid, test = (
        {row[0]: row for row in split.targets(parted, part).collect().iter_rows()} for part in ("valid", "test")
    )
    for user, (_, days) in expected.items():
        assert (user in test, user in valid) == (len(days) > 1, len(days) > 2)
        if user in test:
            _, context, target, _, _, also = test[user]
            assert [target, *also] == days[-1]
            assert context == (days[-2] if len(days) > 2 else [])
        if user in valid:
            assert valid[user][1:3] == ([], days[-2][0])


def test_global_time_takes_every_item_at_the_first_time_of_the_test(tmp_path: Path) -> None:
    """Prevents: an item at the time of the target that is neither right nor wrong."""
    days = [0, 0, 1, 2, 2, 2, 3]
    rows = interactions([("u", CODES[place], START + timedelta(days=day)) for place, day in enumerate(days)])
    table = rows.rename({"user_id": "user", "item_id": "item"})
    cuts = split.Cuts(START + timedelta(days=1), START + timedelta(days=2))
    assert split.with_parts(table, cuts, sets=True)["part"].to_list() == [
        *["history"] * 2, "valid", "test", "also", "also", "after_test_item"
    ]  # fmt: skip


def test_users_with_nothing_earlier_are_counted(tmp_path: Path) -> None:
    """Prevents: users who leave the test without a word."""
    titles: dict[str, str | None] = {code: f"Thing {code}" for code in CODES}
    days = [("max", code, START + timedelta(days=day)) for day, code in enumerate(CODES)]
    at_once = [("zoe", code, START) for code in CODES[:4]]
    rows = pl.concat([one_day(5, CODES), interactions(days), interactions(at_once)])
    layout = workspace(tmp_path, catalogue(titles), rows, passed=True)
    report = clean(params.Clean(**LOOSE, ties="set"), 17, layout)
    assert report["ties"] == {"order": "set", "users_at_one_time": 1, "users_otherwise": 7 - 1}
    assert "zoe" not in pl.read_parquet(layout.test_targets)["user_id"]
    assert pl.read_parquet(layout.histories).filter(pl.col("user_id") == "zoe")["history"][0].len() == 4


@pytest.mark.parametrize("how", ["shuffle", "set"])
def test_without_times_nothing_ties(tmp_path: Path, how: Any) -> None:
    """Prevents: a setting that does nothing, and says nothing."""
    items, rows = shop()
    layout = workspace(
        tmp_path, items, rows.with_columns(timestamp=pl.lit(None, rows.schema["timestamp"])), passed=True
    )
    with pytest.raises(BadInput, match="no interaction has a time"):
        clean(params.Clean(**LOOSE, ties=how), 17, layout)


@pytest.mark.parametrize(("how", "least"), [("file", 10), ("shuffle", 10), ("set", 8)])
def test_the_training_core_knows_no_target(tmp_path: Path, how: Any, least: int) -> None:
    """Prevents: an item that is in the catalogue because somebody takes it in the test."""
    items, rows = shop(users=60, items=40, length=10)
    rows = rows.with_columns(pl.col("timestamp").dt.truncate("4d"))
    layout = workspace(tmp_path, items, rows, passed=True)
    core: dict[str, Any] = {"min_user_interactions": 5, "min_item_interactions": least, "ties": how}
    assert clean(params.Clean(**core), 17, layout)["core"]["test_targets"] > 0
    report = clean(params.Clean(**core, core="training"), 17, layout)
    assert report["core"]["counts"] == "training"
    assert report["core"]["items"] == report["core"]["test_targets"] == 0
    removed = report["interactions"]["removed"]
    assert removed["not_in_training"] > 0
    assert report["interactions"]["in"] == report["interactions"]["kept"] + sum(removed.values())
    histories = pl.read_parquet(layout.histories)
    counts = histories.select(pl.col("history").explode()).to_series().value_counts()
    assert counts["count"].min() >= least  # type: ignore[operator]
    assert set(pl.read_parquet(layout.items_clean)["item_id"]) == set(counts["history"])
    assert histories["history"].list.len().min() >= 3  # type: ignore[operator]
    other = pl.read_parquet(layout.other_order / "histories.parquet")
    assert set(other["history"].explode()) <= set(counts["history"]) and other.height


def test_what_is_held_out_decides_nothing_of_a_training_core(tmp_path: Path) -> None:
    """Prevents: a training that changes when somebody's test item does, though no file of targets was opened."""
    items, rows = shop(users=60, items=40, length=10)
    last = pl.col("position") == pl.col("position").max().over("user_id")
    moved = rows.with_columns(item_id=pl.when(last).then(pl.lit("i00")).otherwise("item_id"))
    outputs = []
    for name, table in (("as it was", rows), ("moved", moved)):
        layout = workspace(tmp_path / name, items, table, passed=True)
        how = params.Clean(min_item_interactions=11, core="training", drop_repeats=False)
        clean(how, 17, layout)
        outputs.append([sha256(path) for path in (layout.histories, layout.items_clean)])
    assert outputs[0] == outputs[1]
    assert not pl.read_parquet(Layout(tmp_path / "moved", "tiny").test_targets).is_empty()


def test_numbers_of_items_follow_no_id() -> None:
    """Prevents: item numbers, by which ties of scores are broken, in the order of ids that follow time or shelf."""
    titles = {f"i{number:03}": f"Thing {number * number}" for number in range(200)}
    items = catalogue(dict(titles))
    order = items.join(numbering.hashes(items, 17), on="item_id").sort("by_text", "by_id")["item_id"].to_list()
    renamed = catalogue({f"x{999 - int(code[1:])}": title for code, title in titles.items()})
    other = renamed.join(numbering.hashes(renamed, 17), on="item_id").sort("by_text", "by_id")["item_id"].to_list()
    assert other == [f"x{999 - int(code[1:])}" for code in order]
    ascending = sum(one < next_ for one, next_ in pairwise(order))
    assert 70 < ascending < 130
    assert ties.moments(pl.DataFrame({"user": [0, 0, 1], "timestamp": [START, START, START]})).to_list() == [1, 1, 2]
