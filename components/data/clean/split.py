"""Leave-one-out and global-time splits: every interaction gets one part; histories and targets follow from the parts.

`leave-one-out`: a user's last item is the test target, the one before it the validation target.
`global-time`: what happens on or after a date is the future; a user's first item there is the target.

A prompt is always training history + context, and the context of a test target is what lies between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import polars as pl

from components.errors import BadInput

PARTS = ("history", "valid", "between", "test", "after_test_item", "no_history", "no_time")
"""history: training. valid, test: the targets. between: after the validation target, before the test target.
after_test_item: later than the one test target of the user. no_history: of a user who has no training history.
no_time: of a user with an interaction without time (global-time only). The last three are used nowhere."""
USED = ("history", "valid", "between", "test")

_PART = pl.Enum(PARTS)


@dataclass(frozen=True)
class Cuts:
    """The first moments of validation and of test (global-time)."""

    valid_from: datetime
    test_from: datetime


def with_parts(rows: pl.DataFrame, cuts: Cuts | None = None) -> pl.DataFrame:
    """Add the column `part` (one of `PARTS`) to `rows` [user, item, position, timestamp].

    `rows` is sorted by user and position and keeps its order. `cuts` gives the global-time split, None leave-one-out.
    """
    return rows.with_columns(part=_leave_one_out() if cuts is None else _global_time(cuts))


def _leave_one_out() -> pl.Expr:
    """Parts by position: the last item is test, the one before validation; users with under three rows only train."""
    user = pl.col("user")
    last = user.ne_missing(user.shift(-1))
    second_last = user.ne_missing(user.shift(-2)) & ~last
    has_three = pl.when(last).then(user.eq_missing(user.shift(2))).otherwise(user.eq_missing(user.shift(1)))
    return (
        pl.when(last & has_three)
        .then(pl.lit("test", _PART))
        .when(second_last & has_three)
        .then(pl.lit("valid", _PART))
        .otherwise(pl.lit("history", _PART))
    )


def _global_time(cuts: Cuts) -> pl.Expr:
    moment = pl.col("timestamp")
    past, future = moment < cuts.valid_from, moment >= cuts.test_from
    middle = ~past & ~future
    return (
        pl.when(moment.is_null().any().over("user"))
        .then(pl.lit("no_time", _PART))
        .when(~past.any().over("user"))
        .then(pl.lit("no_history", _PART))
        .when(past)
        .then(pl.lit("history", _PART))
        .when(middle & (middle.cum_sum().over("user") == 1))
        .then(pl.lit("valid", _PART))
        .when(middle)
        .then(pl.lit("between", _PART))
        .when(future.cum_sum().over("user") == 1)
        .then(pl.lit("test", _PART))
        .otherwise(pl.lit("after_test_item", _PART))
    )


def find_cuts(rows: pl.DataFrame, valid_from: str | None, test_from: str | None) -> Cuts:
    """The two dates; where one is not given, the day at 80 % or 90 % of the interactions.

    Raises `BadInput` where no interaction has a time, a date is not ISO, or the dates leave a part empty.
    """
    moments = rows["timestamp"].drop_nulls().sort()
    if moments.is_empty():
        raise BadInput(
            "split is global-time, but no interaction has a time",
            where="params.yaml: clean.split",
            mend="set clean.split: leave-one-out, or map the time column in ingest.columns",
        )
    cuts = Cuts(
        _day(valid_from, "clean.valid_from") or _day_at(moments, 0.8),
        _day(test_from, "clean.test_from") or _day_at(moments, 0.9),
    )
    first, last = moments[0], moments[-1]
    if not first < cuts.valid_from < cuts.test_from <= last:
        raise BadInput(
            f"validation from {cuts.valid_from.date()} and test from {cuts.test_from.date()} leave a part empty: the "
            f"interactions run from {first} to {last}",
            where="params.yaml: clean.valid_from, clean.test_from",
            mend="choose two days in between, the first one earlier",
        )
    return cuts


def _day(text: str | None, key: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as error:
        raise BadInput(f"{text!r} is not a date", where=f"params.yaml: {key}", mend="write it as 2014-05-31") from error


def _day_at(moments: pl.Series, share: float) -> datetime:
    """Start of the day at `share` of the sorted `moments`."""
    return moments[int(share * (len(moments) - 1))].replace(hour=0, minute=0, second=0, microsecond=0)


def histories(rows: pl.DataFrame) -> pl.LazyFrame:
    """[user, history: list, timestamps: list or null], from rows with parts; sorted by user, oldest first.

    The list of times is null where one of them is missing.
    """
    past = rows.lazy().filter(pl.col("part") == "history")
    lists = past.group_by("user", maintain_order=True).agg(history="item", timestamps="timestamp")
    return lists.with_columns(_complete("timestamps"))


def targets(rows: pl.DataFrame, part: str) -> pl.LazyFrame:
    """[user, context: list, target, context_timestamps: list or null, timestamp] of `part` "valid" or "test", from rows
    with parts; sorted by user.

    `context` is what lies between the training history and the target: nothing for validation, which starts where the
    history ends. `timestamp` is the target's; the times of the context are null where one of them is missing.
    """
    chosen = rows.lazy().filter(pl.col("part") == part).select("user", "timestamp", target="item")
    between = rows.lazy().filter(pl.col("part").is_in(["valid", "between"]) if part == "test" else pl.lit(False))
    context = between.group_by("user", maintain_order=True).agg(context="item", context_timestamps="timestamp")
    lists = {"context": "item", "context_timestamps": "timestamp"}
    empty = [pl.col(name).fill_null(pl.lit([], pl.List(rows.schema[of]))) for name, of in lists.items()]
    return (
        chosen.join(context, on="user", how="left", maintain_order="left")
        .with_columns(empty)
        .with_columns(_complete("context_timestamps"))
        .select("user", "context", "target", "context_timestamps", "timestamp")
        .sort("user")
    )


def _complete(times: str) -> pl.Expr:
    """A list of times, or null where one of them is missing."""
    missing = pl.col(times).list.eval(pl.element().is_null()).list.any()
    return pl.when(~missing).then(times)
