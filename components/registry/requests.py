"""The body of a request to rows: what `mlflow models serve` reads, checked without pandas and without MLflow.

    rows_of({"dataframe_records": [{"history": ["B001"], "k": 5}]})        # [Row(history=["B001"], k=5)]

One row a user under `dataframe_records`, `dataframe_split`, `inputs` or `instances`; other columns and `params` are
ignored, as MLflow does.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

DEFAULT_K = 10
MAX_K = 100
"""Beams grow with k; more is refused rather than let one request take the machine's memory."""
MAX_ROWS = 1000
"""Users of a request; more are for `idiom score`."""
MAX_SECONDS = 253_402_300_799
"""The end of the year 9999: milliseconds, taken for seconds, lie beyond, and so does what no ranker can count with."""
FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")
EXAMPLE = '{"dataframe_records": [{"history": ["item id", "item id"], "k": 10}]}'


class Refused(ValueError):
    """A request that is answered 400; the text says why, and holds at most a few characters of the request."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Example: {EXAMPLE}")


@dataclass(frozen=True)
class Row:
    """One user."""

    history: list[str]
    """Item ids, oldest first."""
    k: int
    """How many items are wanted."""
    times: list[float] | None = None
    """Seconds since 1970 (UTC) of each item of the history; None where they are not known."""


def rows_of(given: Any) -> list[Row]:
    """The rows of a parsed JSON body, at least one. Raises `Refused`."""
    names = [name for name in FORMATS if isinstance(given, dict) and name in given]
    if len(names) != 1:
        raise Refused(f"the body has to be an object with one of {', '.join(FORMATS)}")
    records = _by_column(given[names[0]], names[0]) if names[0] == "dataframe_split" else given[names[0]]
    if isinstance(records, Mapping):
        records = _turned(records, names[0])
    if not isinstance(records, list) or not records or not all(isinstance(row, Mapping) for row in records):
        raise Refused(f"`{names[0]}` has to be a list of rows, at least one")
    if len(records) > MAX_ROWS:
        raise Refused(too_many(len(records)))
    return [row_of(row, number) for number, row in enumerate(records)]


def row_of(given: Mapping[Any, Any], row: int) -> Row:
    """One row of a request. Raises `Refused`."""
    history = history_of(given.get("history"), row)
    return Row(history, k_of(given.get("k"), row), times_of(given.get("times"), row, len(history)))


def too_many(rows: int) -> str:
    """Why so many rows are refused."""
    return f"{rows:,} rows; at most {MAX_ROWS:,} are answered at a time"


def history_of(value: Any, row: int) -> list[str]:
    """A history that is a list of strings. Raises `Refused`."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") or isinstance(value, Mapping):
        raise Refused(f"row {row}: `history` is {reprlib.repr(value)}, not a list of item ids")
    items = list(value)
    if wrong := [item for item in items if not isinstance(item, str)]:
        raise Refused(f"row {row}: `history` holds {reprlib.repr(wrong[0])}; item ids are strings")
    return items


def times_of(value: Any, row: int, items: int) -> list[float] | None:
    """As many times as the history has items, None where there are none (None or NaN). Raises `Refused`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise Refused(f"row {row}: `times` is {reprlib.repr(value)}, not a list of seconds since 1970")
    times = list(value)
    if wrong := [each for each in times if not abs(_number(each)) <= MAX_SECONDS]:
        raise Refused(f"row {row}: `times` holds {reprlib.repr(wrong[0])}; give seconds since 1970")
    if len(times) != items:
        raise Refused(f"row {row}: `times` has {len(times)} values for {items} items of `history`")
    return [float(each) for each in times]


def k_of(value: Any, row: int) -> int:
    """A number of items, `DEFAULT_K` where there is none (None or NaN). Raises `Refused`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DEFAULT_K
    number = _number(value)
    if not number.is_integer() or not 1 <= number <= MAX_K:
        raise Refused(f"row {row}: `k` is {reprlib.repr(value)}; give a whole number from 1 to {MAX_K}")
    return int(number)


def _number(value: Any) -> float:
    """A number as a float, NaN for what is none; infinite where it is an integer of more digits than a float has."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _by_column(given: Any, name: str) -> list[dict[Any, Any]]:
    """Rows of {"columns": [...], "data": [[...], ...]}."""
    what = f"`{name}` has to have `columns` (names) and `data` (rows of as many values)"
    columns, data = (given.get(key) for key in ("columns", "data")) if isinstance(given, Mapping) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list) or not all(isinstance(one, str) for one in columns):
        raise Refused(what)
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        raise Refused(what)
    return [dict(zip(columns, row, strict=True)) for row in data]


def _turned(columns: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Rows of {"history": [...], "k": [...]}."""
    if not all(isinstance(column, Sequence) and not isinstance(column, str) for column in columns.values()):
        raise Refused(f"`{name}` has to be a list of rows, or an object of columns, each a list")
    if len({len(column) for column in columns.values()}) > 1:
        raise Refused(f"the columns of `{name}` differ in length")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
