"""Raw interactions -> the canonical ones: ids as text, times in UTC, a position within each user.

The order within a user is the given position where there is one, and no user has the same one twice; else time, ties
in order of position or file. File order alone is an order only where `ingest.order` says so. Which of them it was
stands in the report: nothing downstream may treat file order as time.

Ids are read as a stream and held as 32-bit codes (`coded`), so that ten million rows sort in a few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from components.data.canonical.coded import Coded, renumbered
from components.data.canonical.tables import TIMESTAMP, RawFile
from components.data.ingest import ids, scanning, times
from components.errors import BadInput
from components.settings.params import Ingest

_OPTIONAL = ("position", "timestamp", "rating", "event")
_MOST_KINDS = 1000


class OrderUnknown(BadInput):
    """Neither time nor position says in which order the interactions of a user happened."""


def canonical(raw: pl.LazyFrame, file: RawFile, settings: Ingest) -> tuple[Coded, dict[str, Any]]:
    """The interactions in codes, sorted by user and position (with `rating` and `weight` if there are some), and facts.

    `facts["set_aside"]`: reason -> rows that were read and are not among them. Raises `BadInput` naming up to ten rows
    (counted from 1, a header not counted) for ids that are missing or damaged, a value of a wrong type, or an order
    that nobody can know; or if nothing is left.
    """
    names = raw.collect_schema().names()
    scanning.require_plain(raw, ("user_id", "item_id", *_OPTIONAL), file)
    users, items = ids.distinct(raw, "user_id", file), ids.distinct(raw, "item_id", file)
    ids.refuse_two_writings(users, file)
    codes = {"user": _code("user_id", users), "item": _code("item_id", items)}
    rows = scanning.collect(raw.select(**codes, **{name: name for name in _OPTIONAL if name in names}), file)
    if rows.is_empty():
        raise BadInput("holds no interaction", where=file.shown, mend="get a whole copy of it")
    facts: dict[str, Any] = {"rows": rows.height, "set_aside": {}, "damaged_rows": [], "time_unit": "none"}
    gone = _without_ids(rows, file, settings.max_set_aside_share, facts)
    if "timestamp" in names:
        moments, facts["time_unit"] = times.to_utc(rows["timestamp"], file)
    else:
        moments = pl.Series([None], dtype=TIMESTAMP).new_from_index(0, rows.height)
    rows = rows.with_columns(moments.alias("timestamp"))
    rows = rows.with_columns(numbers(rows[name], file) for name in ("position", "rating") if name in names)
    rows = rows.with_row_index("row")
    rows = rows.filter(~gone) if gone.any() else rows
    if "event" in names or settings.events is not None:
        rows = _chosen_events(rows, settings.events, file, facts)
    if settings.min_rating is not None:
        rows = _rated(rows, settings.min_rating, file, facts)
    if "position" in names:
        facts["rows_without_position"] = rows["position"].null_count()
    facts["rows_without_time"] = rows["timestamp"].null_count()
    rows = _ordered(rows, file, users, settings, facts).drop("row")
    coded = renumbered(Coded(rows, users, items))
    return coded, facts | counts(coded)


def decoded(coded: Coded) -> pl.LazyFrame:
    """The canonical table of `coded`, lazily: ids come back batch by batch while it is written."""
    extra = [name for name in ("rating", "weight") if name in coded.rows.columns]
    return coded.rows.lazy().select(
        pl.col("user").cat.to(pl.Enum(coded.users)).cast(pl.String).alias("user_id"),
        pl.col("item").cat.to(pl.Enum(coded.items)).cast(pl.String).alias("item_id"),
        "position",
        "timestamp",
        *extra,
    )


def numbers(values: pl.Series, file: RawFile) -> pl.Series:
    """Numbers from text (empty -> null). Raises `BadInput` naming the rows that hold something else."""
    if values.dtype.is_numeric():
        return values.cast(pl.Float64)
    given = values.cast(pl.String).str.strip_chars()
    parsed = given.cast(pl.Float64, strict=False)
    wrong = (parsed.is_null() & given.is_not_null() & ~given.str.to_lowercase().is_in(ids.MISSING)).arg_true()
    if len(wrong):
        shown = ", ".join(f"{file.row(row)}: {given[row]!r}" for row in wrong.head(10).to_list())
        raise BadInput(
            f"{len(wrong):,} values of {values.name} are not numbers: {shown}",
            where=f"{file.shown}, column {values.name}",
            mend=f"correct them, or map another column to {values.name} in ingest.columns",
        )
    return parsed.fill_nan(None)


def _code(column: str, known: pl.Series) -> pl.Expr:
    """The place of each id among the `known` ones; null where it says that there is none."""
    return ids.text(column).cast(pl.Enum(known), strict=False).to_physical().cast(pl.UInt32)


def _without_ids(rows: pl.DataFrame, file: RawFile, most: float, facts: dict[str, Any]) -> pl.Series:
    """Which rows lack an id. Few of them are set aside; raises `BadInput` for more than the share `most`."""
    gone = rows["user"].is_null() | rows["item"].is_null()
    if not gone.any():
        return gone
    if int(gone.sum()) > most * rows.height:
        column = "user" if rows["user"].null_count() else "item"
        raise ids.missing(rows[column].is_null().arg_true().to_list(), f"{column}_id", file)
    places = gone.arg_true()
    facts["set_aside"]["missing_id"] = len(places)
    facts["damaged_rows"] = [file.row(row) for row in places.head(10).to_list()]
    return gone


def _chosen_events(
    rows: pl.DataFrame, chosen: list[str] | Mapping[str, float] | None, file: RawFile, facts: dict[str, Any]
) -> pl.DataFrame:
    """Keep the kinds of `chosen` (None: all), with their weights if it has some; count all kinds."""
    mend = "name some of them in ingest.events, or remove it"
    if "event" not in rows.columns:
        mend = "remove ingest.events, or map the column: ingest.columns: {event: ...}"
        raise BadInput("ingest.events is set, but there is no event column", where=file.shown, mend=mend)
    rows = rows.with_columns(pl.col("event").cast(pl.String).str.strip_chars().fill_null(""))
    counts = dict(rows["event"].value_counts(sort=True).sort("count", "event", descending=[True, False]).iter_rows())
    if len(counts) > _MOST_KINDS:
        raise BadInput(
            f"the event column has {len(counts):,} different kinds, such as {', '.join(list(counts)[:5])}",
            where=file.shown,
            mend="map another column to event in ingest.columns, or none",
        )
    facts["events"] = counts
    if chosen is None:
        return rows.drop("event")
    absent = [kind for kind in chosen if kind not in counts]
    if absent:
        found = ", ".join(f"{kind or '(empty)'} {count:,}" for kind, count in list(counts.items())[:12])
        raise BadInput(f"no interaction is of the kind {absent[0]!r}; found: {found}", where=file.shown, mend=mend)
    kept = rows.filter(pl.col("event").is_in(list(chosen)))
    if kept.height < rows.height:
        facts["set_aside"]["other_event"] = rows.height - kept.height
    if isinstance(chosen, Mapping):
        kept = kept.with_columns(pl.col("event").replace_strict(dict(chosen), return_dtype=pl.Float64).alias("weight"))
    return kept.drop("event")


def _rated(rows: pl.DataFrame, least: float, file: RawFile, facts: dict[str, Any]) -> pl.DataFrame:
    """Keep what was rated `least` or more."""
    if "rating" not in rows.columns:
        raise BadInput(
            "min_rating is set, but there is no rating column",
            where=file.shown,
            mend="remove ingest.min_rating, or map the column: ingest.columns: {rating: ...}",
        )
    kept = rows.filter(pl.col("rating") >= least)
    if kept.is_empty():
        highest = rows.select(pl.col("rating").max()).item()
        raise BadInput(
            f"no interaction has a rating of {least} or more (the highest is {highest})",
            where=file.shown,
            mend="lower ingest.min_rating",
        )
    facts["below_min_rating"] = rows.height - kept.height
    if kept.height < rows.height:
        facts["set_aside"]["below_min_rating"] = rows.height - kept.height
    return kept


def _ordered(
    rows: pl.DataFrame, file: RawFile, users: pl.Series, settings: Ingest, facts: dict[str, Any]
) -> pl.DataFrame:
    """Sort by user and order within the user, number the positions, and say what the order rests on.

    Raises `BadInput` where nothing says the order, unless `ingest.order` takes that of the file.
    """
    by_file, timeless = settings.order == "file", facts["rows_without_time"] == rows.height
    given = "position" in rows.columns and rows["position"].null_count() == 0
    twice = _positions_twice(rows) if given else rows.clear()
    facts["users_with_a_position_twice"] = twice["user"].n_unique()
    if given and twice.is_empty():
        facts["order"] = "position"
        rows = rows.sort("user", "position", maintain_order=True)
    elif not timeless:
        facts["order"] = "timestamp"
        ties = ["position"] if given else []
        rows = _by_time(rows, ties, file, settings, facts)
    elif by_file:
        facts["order"] = "file"
        rows = rows.sort("user", maintain_order=True)
    elif given:
        raise _restarting(twice, rows, file, users)
    else:
        lacking = " and some have no position" if "position" in rows.columns else " or position"
        raise OrderUnknown(
            f"the order of the histories is not known: no interaction has a time{lacking}",
            where=file.shown,
            mend="map the time column (ingest.columns: {timestamp: ...}); only if the rows stand in the order in which "
            "they happened, say so: ingest.order: file",
        )
    # Faster than a window per user by an order of magnitude: the row number, less that of the user's first row.
    index = pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(pl.col("user").ne_missing(pl.col("user").shift())).then(index).forward_fill()
    return rows.with_columns((index - first).alias("position"))


def _positions_twice(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose position another row of their user has as well."""
    placed = rows.select("user", "position", "row").sort("user", "position", maintain_order=True)
    again = (pl.col("user") == pl.col("user").shift()) & (pl.col("position") == pl.col("position").shift())
    return placed.filter(again | again.shift(-1).fill_null(False))


def _restarting(twice: pl.DataFrame, rows: pl.DataFrame, file: RawFile, users: pl.Series) -> BadInput:
    """A position that starts again, in each session say, orders nothing."""
    user = twice["user"][0]
    same = twice.filter((pl.col("user") == user) & (pl.col("position") == twice["position"][0]))["row"].head(3)
    shown = ", ".join(file.row(row) for row in same.to_list())
    return BadInput(
        f"positions repeat within a user, so that they are no order: {twice['user'].n_unique():,} of "
        f"{rows['user'].n_unique():,} users; {users[user]} has position {twice['position'][0]:g} in {shown}",
        where=f"{file.shown}, column position",
        mend="number the interactions of a user through all sessions, or map a time (ingest.columns: {timestamp: ...});"
        " only if the rows stand in the order in which they happened, say so: ingest.order: file",
    )


def _by_time(
    rows: pl.DataFrame, ties: list[str], file: RawFile, settings: Ingest, facts: dict[str, Any]
) -> pl.DataFrame:
    """Sorted by time. A user with some times missing cannot be put in order without guessing.

    Few such users are set aside; with `ingest.order: file` they keep file order; else raises `BadInput`.
    """
    partly = rows.filter(pl.col("timestamp").is_null())["user"].unique()
    facts["users_in_file_order"] = 0
    if partly.is_empty():
        return rows.sort("user", "timestamp", *ties, maintain_order=True)
    incomplete = pl.col("user").is_in(partly.implode())
    if settings.order == "file":
        facts["users_in_file_order"] = len(partly)
        return rows.sort(
            "user", *(pl.when(~incomplete).then(name) for name in ("timestamp", *ties)), maintain_order=True
        )
    theirs = rows.filter(incomplete)
    if theirs.height > settings.max_set_aside_share * facts["rows"]:
        without = rows.filter(pl.col("timestamp").is_null())["row"]
        shown = ", ".join(file.row(row) for row in without.head(10).to_list())
        raise BadInput(
            f"the order of {len(partly):,} users is not known: {len(without):,} of their interactions have no time "
            f"({shown})",
            where=f"{file.shown}, column timestamp",
            mend="complete the times, or remove these users; ingest.order: file keeps such a user in the order of the "
            "file",
        )
    facts["set_aside"]["order_unknown"] = theirs.height
    facts["damaged_rows"] += [file.row(row) for row in theirs["row"].head(10 - len(facts["damaged_rows"])).to_list()]
    facts["rows_without_time"] = 0
    return rows.filter(~incomplete).sort("user", "timestamp", *ties, maintain_order=True)


def counts(coded: Coded) -> dict[str, Any]:
    """Counts of what is odd about the canonical interactions."""
    same_user = pl.col("user") == pl.col("user").shift()
    before = pl.col("timestamp").shift()
    back = same_user & (pl.col("timestamp") < before)
    pair = pl.col("user").cast(pl.UInt64) * 2**32 + pl.col("item")
    counts = coded.rows.select(
        interactions=pl.len(),
        repeats=pl.len() - pair.n_unique(),
        steps_back_in_time=back.sum(),
        users_back_in_time=pl.col("user").filter(back).n_unique(),
        steps_at_the_same_time=(same_user & (pl.col("timestamp") == before)).sum(),
        first_time=pl.col("timestamp").min().dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        last_time=pl.col("timestamp").max().dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return {"users": len(coded.users), "items": len(coded.items), **counts.row(0, named=True)}
