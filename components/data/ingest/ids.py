"""Ids as text: never a number, never shortened on the way, and the same in both tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from components.data.canonical.tables import RawFile
from components.data.ingest import scanning
from components.errors import BadInput

MISSING = ("", "nan", "null", "none")
"""What an absent value looks like once it went through somebody's data frame (compared without case)."""

_SHOWN = 10
_SCIENTIFIC = r"^[+-]?\d(?:[.,]\d+[eE]\+?|[eE]\+)\d+$"
"""4.00638E+12, 4.00638e12 and 4e+12, but not 1E5, which is a code that somebody may have chosen."""
_FLOAT = r"^[+-]?\d+[.,]0+$"
_LONG, _ROUNDED = r"^\d{12,}$", r"^\d{15}0+$|^\d+0{5}$"
"""A spreadsheet keeps 15 digits, and shows six."""
_ALIKE: tuple[tuple[str, str, str], ...] = (
    ("leading zeros", r"^0+(\d)", "$1"),
    ("a decimal point", r"^(\d+)\.0+$", "$1"),
    ("quotes", r"""^=?["']+|["']+$""", ""),
)
"""What an export drops or adds: the words for it, and how ids look without it."""
_FEW, _SHARE = 10, 0.01


def text(column: str) -> pl.Expr:
    """An id column as text without surrounding space."""
    return pl.col(column).cast(pl.String).str.strip_chars()


def checked(values: pl.Series, file: RawFile) -> pl.Series:
    """The ids of a whole column, as text, null where there is none. Raises `BadInput` for ids that were damaged."""
    _no_floats(values.dtype, values.name, file)
    found = values.to_frame().select(text(values.name)).to_series()
    found = found.set(found.str.to_lowercase().is_in(MISSING), None)
    _refuse_damaged(found.drop_nulls().unique(), file)
    return found


def distinct(raw: pl.LazyFrame, column: str, file: RawFile) -> pl.Series:
    """The different ids of a column, ascending, in one streaming pass; what says that there is none is not among them.

    Raises `BadInput` like `checked`.
    """
    _no_floats(raw.collect_schema()[column], column, file)
    found = scanning.collect(raw.select(text(column).unique()), file)[column].drop_nulls().sort()
    found = found.filter(~found.str.to_lowercase().is_in(MISSING))
    _refuse_damaged(found, file)
    return found


def missing(rows: Sequence[int], column: str, file: RawFile) -> BadInput:
    """What is said of the records with these indices (from 0), which have no id."""
    return BadInput(
        f"{len(rows):,} rows have no {column}: {_listed(rows, file)}",
        where=f"{file.shown}, column {column}",
        mend="complete or remove these rows: without its id a row says nothing; few of them "
        "(ingest.max_set_aside_share) are set aside",
    )


def _listed(rows: Sequence[int], file: RawFile) -> str:
    if not file.parts:
        return "row " + ", ".join(str(row + 1) for row in rows[:_SHOWN])
    return ", ".join(file.row(row) for row in rows[:_SHOWN])


def refuse_other_writing(interacted: pl.Series, items: pl.Series, where: str) -> None:
    """Raise `BadInput` where items of the interactions are in the item table under another writing of their id.

    Both hold distinct ids. A single coincidence passes; ten, or one in a hundred, or half of the unknown ones do not;
    nor do tables that have no item in common.
    """
    unknown = interacted.filter(~interacted.is_in(items.implode())).to_frame("there")
    known = items.filter(~items.is_in(interacted.implode())).to_frame("here")
    rules = [(words, pattern, into, False) for words, pattern, into in _ALIKE] + [("case", "", "", True)]
    for words, pattern, into, fold in rules:
        pairs = unknown.with_columns(key=_plain("there", pattern, into, fold)).join(
            known.with_columns(key=_plain("here", pattern, into, fold)), on="key"
        )
        if pairs.height and pairs.height >= min(_FEW, max(1, _SHARE * len(interacted)), unknown.height / 2):
            shown = ", ".join(
                f"{there} against {here}"
                for there, here in pairs.sort("there").head(_SHOWN).select("there", "here").iter_rows()
            )
            raise BadInput(
                f"{pairs.height:,} items differ between interactions and item table by {words} alone: {shown}",
                where=where,
                mend="write ids alike in both files, as text (a spreadsheet takes leading zeros away)",
            )
    if unknown.height and unknown.height == len(interacted):
        there, here = (", ".join(ids.sort().head(3).to_list()) for ids in (interacted, items))
        raise BadInput(
            f"none of the {unknown.height:,} items of the interactions is in the item table: {there} against {here}",
            where=where,
            mend="check which column is the item id in each table (ingest.columns), and that both are of one shop",
        )


def refuse_two_writings(ids: pl.Series, file: RawFile) -> None:
    """Raise `BadInput` where one column writes the same ids with and without leading zeros: `007` and `7`."""
    padded = ids.filter(ids.str.contains(r"^0+\d+$")).to_frame("padded")
    twice = padded.with_columns(key=_plain("padded", *_ALIKE[0][1:], False)).filter(pl.col("key").is_in(ids.implode()))
    if twice.height and twice.height >= max(3, _SHARE * len(ids)):
        shown = ", ".join(f"{bare} and {full}" for full, bare in twice.sort("key").head(_SHOWN).iter_rows())
        raise BadInput(
            f"{twice.height:,} ids of {ids.name} stand there with and without leading zeros: {shown}",
            where=f"{file.shown}, column {ids.name}",
            mend="write them alike, as text: these would be different ones",
        )


def _plain(column: str, pattern: str, into: str, fold: bool) -> pl.Expr:
    return pl.col(column).str.to_lowercase() if fold else pl.col(column).str.replace_all(pattern, into)


def _no_floats(kind: pl.DataType, column: str, file: RawFile) -> None:
    if kind.is_float():
        raise BadInput(
            f"column {column} holds floating-point numbers: an id 007 or 12345678901234567 would be damaged",
            where=file.shown,
            mend="write ids as text or whole numbers (a missing one makes pandas turn a column into floats)",
        )


def _refuse_damaged(ids: pl.Series, file: RawFile) -> None:
    """Ids that a spreadsheet or a data frame has written as numbers, with ten examples."""
    short = ids.filter(ids.str.contains(_SCIENTIFIC))
    if len(short):
        raise _damaged(short, "are in scientific notation: different ones became the same", file)
    floats = ids.filter(ids.str.contains(_FLOAT))
    numeric = int(ids.str.contains(r"^[+-]?\d+(?:\.\d+)?$").sum())
    if len(floats) and (len(floats) * 2 >= numeric or floats.str.replace(r"[.,]0+$", "").is_in(ids.implode()).any()):
        raise _damaged(floats, "are decimal numbers: leading zeros and long numbers were lost on the way", file)
    long = ids.filter(ids.str.contains(_LONG))
    if len(long) >= 3 and long.str.contains(_ROUNDED).all():
        raise _damaged(long, "are long numbers that all end in zeros, as a spreadsheet rounds", file)


def _damaged(ids: pl.Series, what: str, file: RawFile) -> BadInput:
    shown = ", ".join(ids.sort().head(_SHOWN).to_list())
    return BadInput(
        f"{len(ids):,} ids of {ids.name} {what}: {shown}",
        where=f"{file.shown}, column {ids.name}",
        mend="export the column as text from the source; what a spreadsheet has shortened cannot be repaired",
    )
