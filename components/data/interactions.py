"""Raw interactions -> the canonical table: ids as text, times in UTC, a position within each user.

The order within a user is the given position where there is one; else time, ties in file order; else file order. Which
of the three it was stands in the report: nothing downstream may treat file order as time.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from components.data import scanning, times
from components.data.tables import INTERACTION_COLUMNS, TIMESTAMP, RawFile
from components.errors import BadInput

MISSING_IDS = ("", "nan", "null", "none")
"""What an absent id looks like once it went through somebody's data frame (compared without case)."""


def canonical(raw: pl.LazyFrame, file: RawFile, *, min_rating: float | None) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Table `user_id, item_id, position, timestamp[, rating]`, sorted by user and position, and facts for the report.

    Raises `BadInput` naming up to ten rows (counted from 1, a header not counted) for an id that is missing or a value
    of a wrong type; or if nothing is left.
    """
    present = [name for name in INTERACTION_COLUMNS if name in raw.collect_schema().names()]
    frame = scanning.collect(raw.select(present), file)
    if frame.is_empty():
        raise BadInput("holds no interaction", where=file.shown, mend="get a whole copy of it")
    frame = frame.with_columns(ids(frame["user_id"], file), ids(frame["item_id"], file))
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    facts: dict[str, Any] = {"rows": frame.height}
    if "timestamp" in present:
        values, facts["time_unit"] = times.to_utc(frame["timestamp"], file)
        frame = frame.with_columns(values.alias("timestamp"))
    else:
        frame = frame.with_columns(pl.lit(None, dtype=TIMESTAMP).alias("timestamp"))
        facts["time_unit"] = "none"
    for name in ("position", "rating"):
        if name in present:
            frame = frame.with_columns(numbers(frame[name], file))
    if min_rating is not None:
        frame = _rated(frame, min_rating, file, facts)
    frame = _ordered(frame, facts)
    columns = [name for name in INTERACTION_COLUMNS if name in frame.columns]
    return frame.select(columns), facts | _facts(frame)


def ids(values: pl.Series, file: RawFile) -> pl.Series:
    """Ids as text without surrounding space. Raises `BadInput` naming the rows where there is none."""
    if values.dtype.is_float():
        raise BadInput(
            f"column {values.name} holds floating-point numbers: an id 007 or 12345678901234567 would be damaged",
            where=file.shown,
            mend="write ids as text or whole numbers (a missing one makes pandas turn a column into floats)",
        )
    text = values.cast(pl.String).str.strip_chars()
    missing = text.is_null() | text.str.to_lowercase().is_in(MISSING_IDS)
    if missing.any():
        rows = missing.arg_true()
        shown = ", ".join(str(row + 1) for row in rows.head(10).to_list())
        raise BadInput(
            f"{len(rows):,} rows have no {values.name}: row {shown}",
            where=f"{file.shown}, column {values.name}",
            mend="complete or remove these rows: an interaction without both ids says nothing",
        )
    return text


def numbers(values: pl.Series, file: RawFile) -> pl.Series:
    """Numbers from text (empty -> null). Raises `BadInput` naming the rows that hold something else."""
    given = values.cast(pl.String).str.strip_chars()
    given = given.set(given.str.to_lowercase().is_in(MISSING_IDS), None)
    parsed = given.cast(pl.Float64, strict=False)
    wrong = (parsed.is_null() & given.is_not_null()).arg_true()
    if len(wrong):
        shown = ", ".join(f"row {row + 1}: {given[row]!r}" for row in wrong.head(10).to_list())
        raise BadInput(
            f"{len(wrong):,} values of {values.name} are not numbers: {shown}",
            where=f"{file.shown}, column {values.name}",
            mend=f"correct them, or map another column to {values.name} in ingest.columns",
        )
    return parsed


def _rated(frame: pl.DataFrame, least: float, file: RawFile, facts: dict[str, Any]) -> pl.DataFrame:
    if "rating" not in frame.columns:
        raise BadInput(
            "min_rating is set, but there is no rating column",
            where=file.shown,
            mend="remove ingest.min_rating, or map the column: ingest.columns: {rating: ...}",
        )
    kept = frame.filter(pl.col("rating") >= least)
    if kept.is_empty():
        highest = frame.select(pl.col("rating").max()).item()
        raise BadInput(
            f"no interaction has a rating of {least} or more (the highest is {highest})",
            where=file.shown,
            mend="lower ingest.min_rating",
        )
    facts["below_min_rating"] = frame.height - kept.height
    return kept


def _ordered(frame: pl.DataFrame, facts: dict[str, Any]) -> pl.DataFrame:
    """Sort by user and order within the user, number the positions, and say what the order rests on."""
    facts["rows_without_time"] = frame["timestamp"].null_count()
    if "position" in frame.columns and frame["position"].null_count() == 0:
        facts["order"] = "position"
        frame = frame.sort("user_id", "position", "row")
    elif facts["rows_without_time"] < frame.height:
        facts["order"] = "timestamp"
        # A user with some times missing cannot be put in order of time without guessing: file order for all of them.
        whole = pl.col("timestamp").is_not_null().all().over("user_id")
        facts["users_in_file_order"] = frame.filter(~whole)["user_id"].n_unique()
        frame = frame.sort("user_id", pl.when(whole).then("timestamp"), "row")
    else:
        facts["order"] = "file"
        frame = frame.sort("user_id", "row")
    return frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("user_id").alias("position"))


def _facts(frame: pl.DataFrame) -> dict[str, Any]:
    """Counts of what is odd about the canonical interactions."""
    same_user = pl.col("user_id") == pl.col("user_id").shift()
    before = pl.col("timestamp").shift()
    counts = frame.select(
        interactions=pl.len(),
        users=pl.col("user_id").n_unique(),
        items=pl.col("item_id").n_unique(),
        repeats=pl.len() - pl.struct("user_id", "item_id").n_unique(),
        steps_back_in_time=(same_user & (pl.col("timestamp") < before)).sum(),
        users_back_in_time=pl.col("user_id").filter(same_user & (pl.col("timestamp") < before)).n_unique(),
        steps_at_the_same_time=(same_user & (pl.col("timestamp") == before)).sum(),
        first_time=pl.col("timestamp").min().dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        last_time=pl.col("timestamp").max().dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return counts.row(0, named=True)
