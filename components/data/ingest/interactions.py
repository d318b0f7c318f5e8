"""Raw interactions -> the canonical ones: ids as text, times in UTC, a position within each user.

The order within a user is the given position where there is one; else time, ties in file order; else file order. Which
of the three it was stands in the report: nothing downstream may treat file order as time.

Ids are read as a stream and held as 32-bit codes (`coded`), so that ten million rows sort in a few seconds.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from components.data.canonical.coded import Coded
from components.data.canonical.tables import TIMESTAMP, RawFile
from components.data.ingest import ids, scanning, times
from components.errors import BadInput

_OPTIONAL = ("position", "timestamp", "rating")


def canonical(raw: pl.LazyFrame, file: RawFile, *, min_rating: float | None) -> tuple[Coded, dict[str, Any]]:
    """The interactions in codes, sorted by user and position (with a column `rating` where there is one), and facts.

    Raises `BadInput` naming up to ten rows (counted from 1, a header not counted) for an id that is missing or a value
    of a wrong type; or if nothing is left.
    """
    names = raw.collect_schema().names()
    scanning.require_plain(raw, ("user_id", "item_id", *_OPTIONAL), file)
    users, items = ids.distinct(raw, "user_id", file), ids.distinct(raw, "item_id", file)
    codes = {"user": _code("user_id", users), "item": _code("item_id", items)}
    rows = scanning.collect(raw.select(**codes, **{name: name for name in _OPTIONAL if name in names}), file)
    if rows.is_empty():
        raise BadInput("holds no interaction", where=file.shown, mend="get a whole copy of it")
    facts: dict[str, Any] = {"rows": rows.height, "time_unit": "none"}
    if "timestamp" in names:
        moments, facts["time_unit"] = times.to_utc(rows["timestamp"], file)
    else:
        moments = pl.Series([None], dtype=TIMESTAMP).new_from_index(0, rows.height)
    rows = rows.with_columns(moments.alias("timestamp"))
    rows = rows.with_columns(numbers(rows[name], file) for name in ("position", "rating") if name in names)
    coded = Coded(rows, users, items)
    if min_rating is not None:
        coded = _rated(coded, min_rating, file, facts)
    if "position" in names:
        facts["rows_without_position"] = coded.rows["position"].null_count()
    facts["rows_without_time"] = coded.rows["timestamp"].null_count()
    coded = Coded(_ordered(coded.rows, facts), coded.users, coded.items)
    return coded, facts | _counts(coded)


def decoded(coded: Coded) -> pl.LazyFrame:
    """The canonical table of `coded`, lazily: ids come back batch by batch while it is written."""
    extra = ["rating"] if "rating" in coded.rows.columns else []
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
        shown = ", ".join(f"row {row + 1}: {given[row]!r}" for row in wrong.head(10).to_list())
        raise BadInput(
            f"{len(wrong):,} values of {values.name} are not numbers: {shown}",
            where=f"{file.shown}, column {values.name}",
            mend=f"correct them, or map another column to {values.name} in ingest.columns",
        )
    return parsed.fill_nan(None)


def _code(column: str, known: pl.Series) -> pl.Expr:
    return ids.text(column).cast(pl.Enum(known)).to_physical().cast(pl.UInt32)


def _rated(coded: Coded, least: float, file: RawFile, facts: dict[str, Any]) -> Coded:
    """Keep what was rated `least` or more, and only the ids that are left."""
    rows = coded.rows
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
    users, items = kept["user"].unique().sort(), kept["item"].unique().sort()
    kept = kept.with_columns(
        users.search_sorted(kept["user"]).cast(pl.UInt32).alias("user"),
        items.search_sorted(kept["item"]).cast(pl.UInt32).alias("item"),
    )
    return Coded(kept, coded.users.gather(users), coded.items.gather(items))


def _ordered(rows: pl.DataFrame, facts: dict[str, Any]) -> pl.DataFrame:
    """Sort by user and order within the user, number the positions, and say what the order rests on."""
    if "position" in rows.columns and rows["position"].null_count() == 0:
        facts["order"] = "position"
        rows = rows.sort("user", "position", maintain_order=True)
    elif facts["rows_without_time"] == rows.height:
        facts["order"] = "file"
        rows = rows.sort("user", maintain_order=True)
    else:
        facts["order"] = "timestamp"
        # A user with some times missing cannot be put in order of time without guessing: file order for all of them.
        partly = rows.filter(pl.col("timestamp").is_null())["user"].unique()
        facts["users_in_file_order"] = len(partly)
        key = pl.when(~pl.col("user").is_in(partly.implode())).then("timestamp") if len(partly) else pl.col("timestamp")
        rows = rows.sort("user", key, maintain_order=True)
    # Faster than a window per user by an order of magnitude: the row number, less that of the user's first row.
    index = pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(pl.col("user").ne_missing(pl.col("user").shift())).then(index).forward_fill()
    return rows.with_columns((index - first).alias("position"))


def _counts(coded: Coded) -> dict[str, Any]:
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
