"""Columns and types of the canonical tables, and the raw tables that a reader hands to `ingest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

TEXT_COLUMNS = ("title", "brand", "description", "image_url")
"""Canonical item columns that hold one text; any further text column is kept behind them."""
LIST_COLUMNS = ("categories", "attributes", "image_labels")
"""Canonical item columns that hold a list of texts."""
ITEM_COLUMNS = ("item_id", "title", "brand", "categories", "description", "price", *LIST_COLUMNS[1:], "image_url")
"""All canonical item columns in the order in which they are written."""
TIMESTAMP = pl.Datetime("us", "UTC")

BOTH = ("items", "interactions")
"""The two raw tables; a drop of new data may have one alone."""

Kind = Literal["csv", "tsv", "jsonl", "parquet", "lines"]


@dataclass(frozen=True)
class RawFile:
    """One raw table, ready to be scanned: unpacked and in UTF-8; one file, or several parts that are read as one."""

    shown: str
    """The name that the user knows it by; what messages say."""
    path: Path
    """Where its plain content lies (the raw file itself, or an unpacked copy)."""
    kind: Kind
    records: int | None = None
    """Records that stand in it, counted apart from the reader (`ingest.records`); None where nothing was counted."""
    skip: bool = False
    """Lines that hold nothing, or repeat the header, stand in it: no records, to be left out."""
    parts: tuple[RawFile, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the count noticed, one sentence each, for people."""

    def row(self, index: int) -> str:
        """How people find the record with this index (from 0): `row 3`, with the name of its part if there are some."""
        for part in self.parts:
            if part.records is None or index < part.records:
                return f"row {index + 1} of {Path(part.shown).name}"
            index -= part.records
        return f"row {index + 1}"


@dataclass(frozen=True)
class Tables:
    """Raw tables of a reader: raw values under canonical column names, lazy and unchecked.

    Columns of other names in `items` are kept when they hold text. Values may be text, numbers or (nested) lists, and
    a list may come as JSON text: `canonical` makes them what the contract says. How many records each of the two
    tables has to yield stands in the `records` of its file.
    """

    items: pl.LazyFrame
    interactions: pl.LazyFrame
    items_file: RawFile
    interactions_file: RawFile
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the reader noticed; goes into the ingest report."""
    unused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """`items` and `interactions` -> raw columns that the reader does not hand over."""


def nothing() -> pl.LazyFrame:
    """The frame of a table that is not wanted."""
    return pl.LazyFrame()


def no_file(raw: Path) -> RawFile:
    """The file of a table that is not wanted."""
    return RawFile(shown=str(raw), path=raw, kind="lines", records=0)
