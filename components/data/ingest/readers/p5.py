"""The P5 / IDGenRec layout: `user_sequence.txt` (`user item item ...`) and `item_plain_text.txt` (`item text...`).

There are no times: the order in the line is the order of the history. Two of the released data sets are sorted by
product code instead; such a file is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import RawFile, Tables
from components.data.ingest import ordering, rawfiles, scanning, soundness
from components.errors import BadInput, GateRefused
from components.settings.params import Ingest

FIELDS = ("title", "brand", "categories", "description", "price", "salesrank", "features")
"""Labels that the released item texts use: `title: ...; brand: ...; categories: ...`."""
_LABEL = re.compile(rf"(?:^|;\s+)({'|'.join(FIELDS)}):\s*")
_NOTHING = ("", "na", "none", "unknown")


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    if any(name.endswith("user_sequence.txt") for name in names):
        return "user_sequence.txt is the layout of P5 and IDGenRec: no times, file order only."
    return None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Scan sequences and texts. Raises `BadInput` for lines of another shape, `GateRefused` for sorted sequences."""
    sequences, texts = (
        rawfiles.one(rawfiles.locate(raw, given, (usual,), key=key), key)
        for given, usual, key in (
            (settings.interactions, "user_sequence.txt", "interactions"),
            (settings.items, "item_plain_text.txt", "items"),
        )
    )
    items_file = soundness.checked(rawfiles.prepare(texts, scratch, kind="lines"), scratch, key="items")
    interactions_file = _counted(rawfiles.prepare(sequences, scratch, kind="lines"))
    histories = _histories(interactions_file)
    found = ordering.sortedness(zip(histories["user_id"], histories["item_id"].to_list(), strict=True))
    if found.by_code:
        raise GateRefused(
            f"{found.sorted_users:,} of {found.users:,} histories ({found.share:.0%}) are sorted by item code, "
            f"{found.expected:.0f} would be by chance; users {', '.join(found.examples)}",
            where=interactions_file.shown,
            mend="use sequences in order of time (the raw reviews with format amazon have them); see IDGenRec issue #3",
        )
    interactions = histories.lazy().explode("item_id", "position")
    facts = {"histories_sorted_by_code": found.sorted_users, "histories_looked_at": found.users}
    return Tables(_items(items_file), interactions, items_file, interactions_file, facts)


def _counted(file: RawFile) -> RawFile:
    """The records of a sequence file are its interactions: all words but the first of each line."""
    with file.path.open("rb") as stream:
        return dataclasses.replace(file, records=sum(max(len(line.split()) - 1, 0) for line in stream))


def _histories(file: RawFile) -> pl.DataFrame:
    """One row a user: user_id, item_id (list), position (list)."""
    parts = pl.col("line").str.strip_chars().str.split(" ").list.filter(pl.element() != "")
    frame = scanning.collect(
        scanning.lines(file).with_row_index("row", offset=1).with_columns(parts.alias("parts")), file
    ).filter(pl.col("parts").list.len() > 0)
    short = frame.filter(pl.col("parts").list.len() < 2)
    if not short.is_empty():
        rows = ", ".join(str(row) for row in short["row"].head(10))
        raise BadInput(
            f"lines without an item: {rows}", where=file.shown, mend="each line is `user item item ...`, between spaces"
        )
    twice = frame.filter(pl.col("parts").list.first().is_duplicated())
    if not twice.is_empty():
        rows = ", ".join(str(row) for row in twice["row"].head(10))
        raise BadInput(
            f"lines of a user that has another line: {rows}",
            where=file.shown,
            mend="one line a user: join them in order",
        )
    return frame.select(
        user_id=pl.col("parts").list.first(),
        item_id=pl.col("parts").list.slice(1),
        position=pl.int_ranges(0, pl.col("parts").list.len() - 1),
    )


def _items(file: RawFile) -> pl.LazyFrame:
    lines = scanning.collect(scanning.lines(file), file)["line"].drop_nulls()
    rows = [_fields(line) for line in lines.to_list() if line.strip()]
    schema = dict.fromkeys(("item_id", *FIELDS), pl.String)
    frame = pl.DataFrame(rows, schema=schema).rename({"features": "attributes"})
    empty = [name for name in frame.columns if name != "item_id" and frame[name].null_count() == frame.height]
    return (
        frame.drop(empty)
        .with_columns(_split(name) for name in ("categories", "attributes") if name not in empty)
        .lazy()
    )


def _split(name: str) -> pl.Expr:
    return pl.col(name).str.split(", ")


def _fields(line: str) -> dict[str, str]:
    """Fields of one line; a text without labels is the title, since it is all there is."""
    item_id, _, text = line.strip().partition(" ")
    pieces = _LABEL.split(text.strip())
    fields = {"item_id": item_id}
    if len(pieces) == 1 or pieces[0]:
        return fields | ({"title": text.strip()} if text.strip().lower() not in _NOTHING else {})
    for label, value in zip(pieces[1::2], pieces[2::2], strict=True):
        value = value.strip().rstrip(";").strip()
        if value.lower() not in _NOTHING:
            fields.setdefault(label, value)
    return fields
