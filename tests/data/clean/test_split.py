"""Both splits against slow, obvious references, and the properties that make them leak-proof."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.clean import split
from components.data.clean.kcore import k_core
from components.errors import BadInput
from tests.data.tables_of import START, slow_global_time, slow_k_core, slow_leave_one_out

_HISTORIES = st.dictionaries(
    st.sampled_from("pqrstu"), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7), min_size=1
)
# Days between neighbours, 0 for a tie; None for a user whose times are unknown.
_GAPS = st.lists(st.integers(0, 3), min_size=7, max_size=7) | st.none()


def _table(histories: dict[str, list[tuple[str, datetime | None]]]) -> pl.DataFrame:
    rows = [
        (user, item, position, moment)
        for user in sorted(histories)
        for position, (item, moment) in enumerate(histories[user])
    ]
    schema = {"user": pl.String, "item": pl.String, "position": pl.Int32, "timestamp": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _outputs(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The tables of a split in the shape of the references."""
    result: dict[str, dict[str, Any]] = {}
    for user, history, _ in split.histories(rows).collect().iter_rows():
        result.setdefault(user, {})["history"] = history
    for part in ("valid", "test"):
        for user, context, target, *_ in split.targets(rows, part).collect().iter_rows():
            result.setdefault(user, {})[part] = (context, target)
    return result


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_HISTORIES)
def test_leave_one_out_equals_the_reference(histories: dict[str, list[str]]) -> None:
    """Prevents an off-by-one that puts the validation or the test item into the training history."""
    rows = _table({user: [(item, None) for item in items] for user, items in histories.items()})
    assert _outputs(split.with_parts(rows)) == slow_leave_one_out(histories)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_HISTORIES, st.data(), st.integers(1, 6), st.integers(1, 6))
def test_global_time_equals_the_reference(
    histories: dict[str, list[str]], data: st.DataObject, until_valid: int, until_test: int
) -> None:
    """Prevents training on anything on or after the validation date, and a context that holds the future."""
    timed: dict[str, list[tuple[str, datetime | None]]] = {}
    for user, items in sorted(histories.items()):
        day, gaps = 0, data.draw(_GAPS)
        timed[user] = []
        for index, item in enumerate(items):
            day += gaps[index] if gaps else 0
            timed[user].append((item, START + timedelta(days=day) if gaps else None))
    cuts = split.Cuts(START + timedelta(days=until_valid), START + timedelta(days=until_valid + until_test))
    rows = split.with_parts(_table(timed), cuts)
    assert _outputs(rows) == slow_global_time(timed, cuts.valid_from, cuts.test_from)
    assert rows.height == sum(map(len, timed.values()))
    assert set(rows["part"].unique()) <= set(split.PARTS)


def test_dates_are_found_at_80_and_90_percent_and_start_a_day() -> None:
    """A cut in the middle of a day would separate events that a day-resolution source cannot order."""
    rows = _table({"u": [("a", START + timedelta(days=day, hours=5)) for day in range(101)]})
    cuts = split.find_cuts(rows, None, None)
    assert cuts == split.Cuts(START + timedelta(days=80), START + timedelta(days=90))
    assert split.find_cuts(rows, "2014-02-01", None).valid_from == START + timedelta(days=31)


@pytest.mark.parametrize(
    ("days", "valid_from", "test_from", "said"),
    [
        ([None, None, None], None, None, "no interaction has a time"),
        ([0, 1, 2], "2014-13-01", None, "is not a date"),
        ([0, 1, 2], "2014-01-03", "2014-01-02", "leave a part empty"),
        ([0, 1, 2], "2013-01-01", None, "leave a part empty"),
        ([0, 0, 0], None, None, "leave a part empty"),
    ],
)
def test_impossible_dates_are_refused(
    days: list[int | None], valid_from: str | None, test_from: str | None, said: str
) -> None:
    """An empty training or test part must stop here, not as a division by zero in `evaluate`."""
    rows = _table({"u": [("a", None if day is None else START + timedelta(days=day)) for day in days]})
    with pytest.raises(BadInput, match=said):
        split.find_cuts(rows, valid_from, test_from)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from("abcde")), max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_k_core_equals_the_reference(pairs: list[tuple[str, str]], per_user: int, per_item: int) -> None:
    """One pass of each is not enough: dropping an item can take a user below the bound, and so on."""
    rows = pl.DataFrame(pairs, schema={"user": pl.String, "item": pl.String}, orient="row")
    core, passes = k_core(rows, per_user=per_user, per_item=per_item)
    assert list(core.iter_rows()) == slow_k_core(pairs, per_user, per_item)
    assert passes >= 1
