"""Ids as text: never a number, never missing."""

from __future__ import annotations

from typing import NoReturn

import polars as pl

from components.data.canonical.tables import RawFile
from components.data.ingest import scanning
from components.errors import BadInput

MISSING = ("", "nan", "null", "none")
"""What an absent value looks like once it went through somebody's data frame (compared without case)."""


def text(column: str) -> pl.Expr:
    """An id column as text without surrounding space."""
    return pl.col(column).cast(pl.String).str.strip_chars()


def checked(values: pl.Series, file: RawFile) -> pl.Series:
    """The ids of a whole column, each as text. Raises `BadInput` naming the rows where there is none."""
    _no_floats(values.dtype, values.name, file)
    found = values.to_frame().select(text(values.name)).to_series()
    missing = _missing(found)
    if missing.any():
        _refuse(missing.arg_true() + 1, values.name, file)
    return found


def distinct(raw: pl.LazyFrame, column: str, file: RawFile) -> pl.Series:
    """The different ids of a column, ascending, in one streaming pass. Raises `BadInput` like `checked`."""
    _no_floats(raw.collect_schema()[column], column, file)
    found = scanning.collect(raw.select(text(column).unique()), file)[column].sort()
    if _missing(found).any():
        rows = raw.select(text(column)).with_row_index("row", offset=1)
        lacking = pl.col(column).is_null() | pl.col(column).str.to_lowercase().is_in(MISSING)
        _refuse(scanning.collect(rows.filter(lacking).select("row"), file)["row"], column, file)
    return found


def _missing(found: pl.Series) -> pl.Series:
    return found.is_null() | found.str.to_lowercase().is_in(MISSING)


def _no_floats(kind: pl.DataType, column: str, file: RawFile) -> None:
    if kind.is_float():
        raise BadInput(
            f"column {column} holds floating-point numbers: an id 007 or 12345678901234567 would be damaged",
            where=file.shown,
            mend="write ids as text or whole numbers (a missing one makes pandas turn a column into floats)",
        )


def _refuse(rows: pl.Series, column: str, file: RawFile) -> NoReturn:
    shown = ", ".join(str(row) for row in rows.head(10).to_list())
    raise BadInput(
        f"{len(rows):,} rows have no {column}: row {shown}",
        where=f"{file.shown}, column {column}",
        mend="complete or remove these rows: without its id a row says nothing",
    )
