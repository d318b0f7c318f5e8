"""What every check measures, without Great Expectations: one defect at a time in a shop that is otherwise sound."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.data.canonical import coded
from components.data.validate import checks_catalogue, checks_interactions, leakage
from components.data.validate.checks import CHECKS, ROWS_SHOWN, Measured, severities
from components.errors import BadInput
from components.settings import params
from tests.data.tables_of import START, catalogue, events, interactions, shop

Tables = tuple[pl.DataFrame, pl.DataFrame]
SOUND = {"records": 72, "kept": 72, "set_aside": {}, "such_as": []}
ACCOUNT = {"interactions": SOUND, "items": SOUND, "share_set_aside": 0.0, "max_set_aside_share": 0.001}
"""What the report of `ingest` says of raw records that are all there."""


def measure(
    folder: Path, tables: Tables, cleaning: params.Clean | None = None, **settings: float
) -> dict[str, Measured]:
    items, rows = tables
    rows.write_parquet(folder / "interactions.parquet")
    table, chosen = coded.read(folder / "interactions.parquet"), params.Validate(**settings)  # type: ignore[arg-type]
    measured, touched = checks_catalogue.measure(items, table, chosen)
    return (
        measured
        | checks_interactions.measure(table, items["item_id"], chosen, ACCOUNT)
        | leakage.measure(table, touched, chosen, cleaning or params.Clean())
    )


def failed(measured: dict[str, Measured]) -> set[str]:
    """Names whose observed value breaks the bound; what Great Expectations must say as well."""
    return {
        name
        for name, one in measured.items()
        if one.observed is not None and (one.observed < one.threshold if one.at_least else one.observed > one.threshold)
    }


def test_a_sound_shop_fails_nothing_and_every_check_is_measured(tmp_path: Path) -> None:
    """A check that is listed but never measured would look passed for ever."""
    measured = measure(tmp_path, shop())
    assert set(measured) == set(CHECKS)
    assert failed(measured) == set()
    assert all(one.rows == [] for one in measured.values())


def _with_item(tables: Tables, **values: object) -> Tables:
    items, rows = tables
    return pl.concat([items, pl.DataFrame([values], schema=items.schema)]), rows


def _events(tables: Tables, change: Callable[[list[tuple]], list[tuple]]) -> Tables:
    items, rows = tables
    return items, interactions(change(list(rows.select("user_id", "item_id", "timestamp").iter_rows())))


def in_pairs(rows: pl.DataFrame, *, descending: bool = False) -> pl.DataFrame:
    """Two items at a time, as a file gives them that sorts the items of a day by id."""
    first = rows.with_columns(timestamp=pl.col("timestamp").gather(pl.int_range(pl.len()) // 2 * 2).over("user_id"))
    ordered = first.sort("user_id", "timestamp", "item_id", descending=[False, False, descending])
    return ordered.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("user_id"))


DEFECTS: dict[str, tuple[Callable[[Tables], Tables], set[str]]] = {
    "null item id": (lambda t: _with_item(t, item_id=None, title="Lost"), {"item_ids_present"}),
    "blank item id": (lambda t: _with_item(t, item_id=" ", title="Lost"), {"item_ids_present"}),
    "id in two rows": (lambda t: _with_item(t, item_id="i00", title="Other"), {"item_ids_unique"}),
    "no titles": (
        lambda t: (t[0].with_columns(title=pl.lit("N/A"), brand=pl.col("title")), t[1]),
        {"titles_present"},
    ),
    "two of fifteen items without text": (
        lambda t: (t[0].with_columns(title=pl.when(pl.col("item_id") > "i01").then("title")), t[1]),
        {"items_have_text", "titles_present"},
    ),
    "long titles": (lambda t: (t[0].with_columns(pl.col("title") + "x" * 300), t[1]), {"titles_short"}),
    "markup": (lambda t: (t[0].with_columns("<b>" + pl.col("title")), t[1]), {"text_without_markup"}),
    "two items of one text": (
        lambda t: (t[0].with_columns(title=pl.col("title").replace("Soap number 3", "Soap number 4")), t[1]),
        {"no_duplicate_items"},
    ),
    "null user id": (
        lambda t: (t[0], t[1].with_columns(user_id=pl.when(pl.col("user_id") != "u03").then("user_id"))),
        {"interaction_ids_present"},
    ),
    "gap in positions": (
        lambda t: (t[0], t[1].filter((pl.col("user_id") != "u03") | (pl.col("position") != 2))),
        {"positions_contiguous"},
    ),
    "one orphan item": (lambda t: (t[0].filter(pl.col("item_id") != "i03"), t[1]), {"no_orphans"}),
    "tables do not join": (
        lambda t: (
            t[0].with_columns(
                item_id=pl.when(pl.int_range(pl.len()) > 4).then("0" + pl.col("item_id")).otherwise("item_id")
            ),
            t[1],
        ),
        {"no_orphans", "items_in_catalogue"},
    ),
    "one time missing": (
        lambda t: _events(t, lambda rows: [(*rows[0][:2], None), *rows[1:]]),
        {"times_complete"},
    ),
    "seconds read as microseconds": (
        lambda t: (
            t[0],
            t[1].with_columns(
                timestamp=pl.from_epoch(pl.col("timestamp").dt.epoch("s"), "us").dt.replace_time_zone("UTC")
            ),
        ),
        {"times_plausible"},
    ),
    "time goes backward": (
        lambda t: _events(t, lambda rows: [rows[0], (*rows[1][:2], START - timedelta(days=9)), *rows[2:]]),
        {"time_goes_forward"},
    ),
    "last event doubled": (
        lambda t: _events(t, lambda rows: [*rows, rows[-1]]),
        {"no_interaction_in_two_splits", "target_not_in_history"},
    ),
    "target bought before": (
        lambda t: _events(t, lambda rows: [*rows, (rows[-1][0], rows[-5][1], rows[-1][2] + timedelta(days=1))]),
        {"target_not_in_history"},
    ),
    "all on one day": (
        lambda t: _events(t, lambda rows: [(*row[:2], START) for row in rows]),
        {"few_ties_in_time"},
    ),
    "pairs of a day in the order of their ids": (
        lambda t: (t[0], in_pairs(t[1])),
        {"few_ties_in_time", "ties_in_no_order"},
    ),
    "every item of a day after one with a larger id": (
        lambda t: (t[0], in_pairs(t[1], descending=True)),
        {"few_ties_in_time", "ties_in_no_order"},
    ),
    "short histories": (
        lambda t: (t[0], t[1].filter((pl.col("position") < 2) | (pl.col("user_id") < "u04"))),
        {"histories_long_enough"},
    ),
    "sorted by item code": (
        lambda t: _events(t, lambda rows: [(u, i, None) for u, i, _ in sorted(rows, key=lambda row: row[:2])]),
        {"not_sorted_by_item_code", "times_complete"},
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_fails_its_check_and_no_other(tmp_path: Path, defect: str) -> None:
    """A check that fires on its neighbour's defect sends people to mend the wrong thing."""
    change, expected = DEFECTS[defect]
    # Cold targets depend on which rows a defect removes, in a shop of twelve users; they have their own test.
    measured = measure(tmp_path, change(shop()), max_cold_target_share=1.0)
    assert failed(measured) == expected
    for name in expected:
        assert 1 <= len(measured[name].rows) <= ROWS_SHOWN


def test_cold_targets_are_those_in_no_one_elses_earlier_history(tmp_path: Path) -> None:
    """One's own earlier purchase does not make a target warm, and neither does another user's target."""
    items = catalogue({code: f"Thing {code}" for code in "abcdef"})
    rows = interactions(events({"u1": "a b c", "u2": "c a d", "u3": "b e d", "u4": "f a f"}))
    measured = measure(tmp_path, (items, rows))["few_cold_targets"]
    assert measured.observed == 3 / 4
    assert [row["user_id"] for row in measured.rows] == ["u2", "u3", "u4"]


def test_settings_move_the_bounds(tmp_path: Path) -> None:
    """A threshold in params.yaml that nothing reads is worse than none."""
    bounds = {"min_users": 13, "min_items": 16}
    assert failed(measure(tmp_path, shop(), **bounds)) == {"enough_users", "enough_items"}
    assert failed(measure(tmp_path, shop(), max_cold_target_share=0.0)) <= {"few_cold_targets"}


def test_without_times_what_depends_on_them_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """Never guessed: order without times proves nothing about time."""
    items, rows = shop()
    measured = measure(tmp_path, (items, rows.with_columns(timestamp=pl.lit(None, rows.schema["timestamp"]))))
    silent = {name for name, one in measured.items() if one.skipped}
    silent -= {"core_without_targets"}  # for another reason
    assert silent == {
        "times_plausible", "time_goes_forward", "no_interaction_in_two_splits", "few_ties_in_time", "ties_in_no_order"
    }  # fmt: skip
    assert all(measured[name].skipped == "no interaction has a time" for name in silent)
    assert all(measured[name].observed is None for name in silent)
    assert failed(measured) == {"times_complete"}


@pytest.mark.parametrize(
    ("change", "doubled"),
    [
        (lambda rows: [*rows, (rows[-1][0], rows[0][1], START)], False),
        (lambda rows: [*rows, *rows], True),
        (lambda rows: [row for row in rows for _ in range(2)], True),
        (lambda rows: [*rows, rows[-1]], True),
    ],
    ids=["visited again", "exported twice", "joined twice", "the last row joined twice"],
)
def test_a_visit_within_a_session_is_told_from_a_doubled_table(tmp_path: Path, change: Any, doubled: bool) -> None:
    """Prevents: sessions with a restaurant guide refused, as their steps share the time of the session; and doubled
    rows that pass because times are days."""

    def all_at_once(rows: list[tuple]) -> list[tuple]:
        users = sorted({user for user, _, _ in rows})
        return [new for user in users for new in change([(u, i, START) for u, i, _ in rows if u == user])]

    found = measure(tmp_path, _events(shop(), all_at_once))
    assert ("no_interaction_in_two_splits" in failed(found)) is doubled
    assert "target_not_in_history" in failed(found)


def test_repeats_are_no_leak_where_people_buy_again(tmp_path: Path) -> None:
    """Prevents: every night the same warning of what `clean.drop_repeats: false` has said is real."""
    items, rows = _events(shop(), lambda rows: [*rows, (rows[-1][0], rows[-5][1], rows[-1][2] + timedelta(days=1))])
    rows.write_parquet(tmp_path / "interactions.parquet")
    table, chosen = coded.read(tmp_path / "interactions.parquet"), params.Validate()
    for drops in (True, False):
        found = leakage.measure(table, items, chosen, params.Clean(drop_repeats=drops))["target_not_in_history"]
        assert (found.skipped is None) is drops
    assert "evaluate" in str(found.skipped)


def test_unknown_check_in_severities_names_the_known_ones() -> None:
    """A typo there would leave the old severity in force without a word."""
    assert severities({"no_orphans": "critical"})["no_orphans"] == "critical"
    with pytest.raises(BadInput, match="unknown check no_orphanz") as caught:
        severities({"no_orphanz": "critical"})
    assert "no_orphans" in caught.value.mend


@pytest.mark.parametrize(
    ("aside", "kept", "share", "observed", "passed"),
    [
        ({"missing_id": 1}, 1999, 0.0005, 0.0005, True),
        ({"missing_id": 40}, 1960, 0.02, 0.02, False),
        ({"below_min_rating": 900}, 1100, 0.0, 0.0, True),
        ({}, 1720, 0.0, 1.0, False),
    ],
)
def test_raw_records_that_went_away(
    tmp_path: Path, aside: dict[str, int], kept: int, share: float, observed: float, passed: bool
) -> None:
    """Prevents: rows that vanish between the file and the table, and a gate that a person's own filter closes."""
    found = {"records": 2000, "kept": kept, "set_aside": aside, "such_as": ["row 3"]}
    account = ACCOUNT | {"interactions": found, "share_set_aside": share}
    items, rows = shop()
    rows.write_parquet(tmp_path / "interactions.parquet")
    table = coded.read(tmp_path / "interactions.parquet")
    measured = checks_interactions.measure(table, items["item_id"], params.Validate(), account)["records_accounted_for"]
    assert measured.observed == observed
    assert (failed({"it": measured}) == set()) == passed
    assert measured.rows == [{"table": "interactions", "row": "row 3"}]


@pytest.mark.parametrize("moment", [datetime(1989, 12, 31, tzinfo=UTC), datetime.now(UTC) + timedelta(days=3)])
def test_times_before_1990_and_after_tomorrow_stop_the_graph(tmp_path: Path, moment: datetime) -> None:
    """Prevents: one event of 1970 or 2099 that stands first or last in a history, with a warning in a file."""
    assert CHECKS["times_plausible"].severity == "critical"
    tables = _events(shop(), lambda rows: [(*rows[0][:2], moment), *rows[1:]])
    assert "times_plausible" in failed(measure(tmp_path, tables, max_cold_target_share=1.0))


def test_the_order_of_ties_is_counted_and_tested(tmp_path: Path) -> None:
    """Prevents: an artefact of a published data set that is taken for an order; and a warning that never ends, though
    its mend was taken."""
    items, rows = shop()
    measured = measure(tmp_path, (items, in_pairs(rows)))["ties_in_no_order"]
    assert measured.observed == 1.0
    assert (
        measured.said is not None
        and "36 of 36 neighbours at the same time ascend by item id (p = 3e-11" in measured.said
    )
    assert "100% of the last items share the time" in measured.said
    for how in ("shuffle", "set"):
        mended = measure(tmp_path, (items, in_pairs(rows)), params.Clean(ties=how))["ties_in_no_order"]  # type: ignore[arg-type]
        assert mended.observed is None and f"clean.ties is {how}" in str(mended.skipped)
    chance = in_pairs(rows.with_columns(pl.col("item_id").shuffle(seed=3).over("user_id")), descending=False)
    turned = chance.with_columns(
        item_id=pl.when(pl.col("user_id") > "u05")
        .then(pl.col("item_id").reverse().over("user_id", "timestamp"))
        .otherwise("item_id")
    )
    found = measure(tmp_path, (items, turned))["ties_in_no_order"]
    assert found.observed == 0.5 and found.rows == []


def test_ids_that_are_numbers_are_also_read_as_numbers(tmp_path: Path) -> None:
    """Prevents: an order by number, "9" before "10", that looks like chance when read as text."""
    numbers = [str(number) for number in range(6, 16)]
    rows = [("u", number, START) for number in numbers] + [("v", number, START) for number in numbers]
    table = interactions([(f"{user}{copy}", item, moment) for copy in range(3) for user, item, moment in rows])
    found = measure(tmp_path, (catalogue({number: f"Thing {number}" for number in numbers}), table))["ties_in_no_order"]
    assert found.observed == 1.0


def test_a_core_over_everything_gives_its_targets_away(tmp_path: Path) -> None:
    """Prevents: counts that tell who must be somebody's target, in a file that says nothing of it."""
    titles = {f"i{number:02}": f"Thing {number}" for number in range(60)}
    # Items 0 to 29 four times each, once as a last item and once before it; the others five times, never held out.
    rows: list[tuple[str, str, datetime | None]] = []
    for user in range(30):
        basket = [f"i{30 + (user + step) % 30:02}" for step in range(5)]
        basket += [f"i{(user + step) % 30:02}" for step in (1, 2, 3, 0)]
        rows += [(f"u{user:02}", item, START + timedelta(days=step)) for step, item in enumerate(basket)]
    tables = catalogue(dict(titles)), interactions(rows)
    found = measure(tmp_path, tables)["core_without_targets"]
    assert found.observed == 1.0 and len(found.rows) == 10
    assert "Every item has 4 interactions or more" in str(found.said)
    mended = measure(tmp_path, tables, params.Clean(core="training", min_item_interactions=4))["core_without_targets"]
    assert mended.observed is None and "clean.core is training" in str(mended.skipped)
