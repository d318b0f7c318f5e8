"""Reads canonical interactions into 32-bit codes: one number for each user id and item id.

A row of strings costs about 60 bytes and a row of codes 20, and every later step (k-core, split, checks) only compares
and counts. Codes follow the sorted ids, so sorting by code is sorting by id and ties fall to the smaller id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.errors import BadInput

Kind = pl.DataType | type[pl.DataType]
COLUMNS: dict[str, Kind] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "position": pl.Int32,
    "timestamp": pl.Datetime("us", "UTC"),
}
"""Columns of the canonical interactions that are read here, with their types (docs/data.md)."""
_MEND = "run `python -m components ingest`, which writes it"


@dataclass(frozen=True)
class Coded:
    """`rows`: user u32, item u32, position i32, timestamp, sorted by user and position; a missing id is null."""

    rows: pl.DataFrame
    users: pl.Series
    """user_id by code, ascending."""
    items: pl.Series
    """item_id by code, ascending; every item that an interaction names, whether the catalogue has it or not."""


def read(path: Path, further: Sequence[str] = ()) -> Coded:
    """Read canonical interactions. Raises `BadInput` where the file is missing, broken, or not canonical.

    further: columns to read as well, where the table has them.
    """
    table = scan(path, COLUMNS)
    there = [name for name in further if name in table.collect_schema()]
    users, items = (
        collect(table.select(pl.col(name).drop_nulls().unique()), path)[name].sort() for name in ("user_id", "item_id")
    )
    coded = table.select(
        user=pl.col("user_id").cast(pl.Enum(users)).to_physical().cast(pl.UInt32),
        item=pl.col("item_id").cast(pl.Enum(items)).to_physical().cast(pl.UInt32),
        position="position",
        timestamp="timestamp",
        **{name: name for name in there},
    )
    rows = collect(coded, path)
    return Coded(rows.sort("user", "position", maintain_order=True), users, items)


def renumbered(coded: Coded) -> Coded:
    """Without the ids that no row has any more; codes follow the sorted ids again."""
    rows, users, items = coded.rows, coded.rows["user"].unique().sort(), coded.rows["item"].unique().sort()
    if len(users) == len(coded.users) and len(items) == len(coded.items):
        return coded
    rows = rows.with_columns(
        users.search_sorted(rows["user"]).cast(pl.UInt32).alias("user"),
        items.search_sorted(rows["item"]).cast(pl.UInt32).alias("item"),
    )
    return Coded(rows, coded.users.gather(users), coded.items.gather(items))


def scan(path: Path, columns: dict[str, Kind]) -> pl.LazyFrame:
    """A Parquet artifact as a lazy frame that has at least `columns` in these types. Raises `BadInput` otherwise."""
    if not path.is_file():
        raise BadInput("artifact is missing", where=str(path), mend=_MEND)
    table = pl.scan_parquet(path)
    try:
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error, path) from error
    for name, kind in columns.items():
        if name not in schema:
            raise BadInput(f"column {name} is missing (found: {', '.join(schema)})", where=str(path), mend=_MEND)
        if schema[name] != kind:
            raise BadInput(f"column {name} is {schema[name]}, not {kind}", where=str(path), mend=_MEND)
    return table


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Collect a frame that scans `path`. Raises `BadInput` for pages that are damaged behind a sound schema."""
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError, OSError) as error:
        raise _unreadable(error, path) from error


def _unreadable(error: Exception, path: Path) -> BadInput:
    return BadInput(f"not readable as Parquet: {str(error).splitlines()[0]}", where=str(path), mend=_MEND)
