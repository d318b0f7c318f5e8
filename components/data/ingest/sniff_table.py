"""Which of a folder's plain tables is which, and which files are parts of one; whatever is not read is named."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from components.data.ingest import names, rawfiles, relations, scanning, sniff_columns, soundness
from components.data.ingest.sniff_columns import SAMPLE_ROWS, Candidate
from components.data.ingest.swallowed import shape_of
from components.errors import BadInput
from components.settings.params import Quoting

SAMPLE_BYTES = 64 * 2**20
"""Of a packed file only the beginning is unpacked to look at it."""
_INTERACTION = ("user_id", "item_id", "position", "timestamp", "event", "rating")
_ITEM = ("item_id", "title", "brand", "categories", "description", "price", "attributes", "image_labels", "image_url")
_MONTH = re.compile(r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}(?![a-z])")


def suggest_table(folder: Path, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """The `ingest` section (without path) for two plain tables, and lines that explain it. Raises `BadInput`."""
    candidates, unread = _candidates(folder, scratch)
    triples = [one for one in candidates if relations.columns(one.sample.columns) is not None]
    tables, copies = _joined([one for one in candidates if one not in triples])
    interactions = _best(folder, [one for one in tables if one.is_interactions], "as_interactions")
    items = _best(
        folder,
        [one for one in tables if one.is_items and one is not interactions and "user_id" not in one.as_interactions],
        "as_items",
    )
    for table in (interactions, items):
        if table is not None:
            _no_part_unread(folder, unread, table)
            _no_part_left(tables, table)
    if interactions is None or items is None:
        raise _nothing_fits(folder, candidates, unread, interactions, items)
    found: dict[str, Any] = {"format": "table", "items": _named(items), "interactions": _named(interactions)}
    chosen, about_times = sniff_columns.with_time(interactions)
    about_events = sniff_columns.events(interactions, chosen)
    lines = sniff_columns.account("Interactions", interactions, chosen) + sniff_columns.account(
        "Items", items, items.as_items
    )
    reasons = {**copies, **_reasons(unread), **_folders(folder)}
    if triples:
        found["relations"] = [one.name for one in triples] if len(triples) > 1 else triples[0].name
        lines += sniff_columns.about_relations(triples)
    lines += about_times + about_events + _others(tables, reasons, interactions, items)
    columns = sniff_columns.mapping(chosen, items.as_items, set(interactions.sample.columns), set(items.sample.columns))
    if columns:
        found["columns"] = columns
    quoting = {"items": items.quoting, "interactions": interactions.quoting}
    quoting |= {"relations": _common_quoting(triples)} if triples else {}
    if any(quoting.values()):
        found["quoting"] = {table: dialect for table, dialect in quoting.items() if dialect}
    lines += sniff_columns.about_quotes("interactions", interactions) + sniff_columns.about_quotes("items", items)
    separator = sniff_columns.list_separator(items)
    if separator is not None:
        found["list_separator"] = separator
        lines.append(f"Lists come as one text and are split at {separator!r}.")
    lines += sniff_columns.flags(items) + sniff_columns.overlap_line(interactions, items)
    return found, lines


def _candidates(folder: Path, scratch: Path) -> tuple[list[Candidate], dict[str, BadInput]]:
    candidates, unread = [], {}
    for name in rawfiles.tables_in(folder):
        try:
            file = rawfiles.prepare(folder / name, scratch, limit=SAMPLE_BYTES)
            plain, quoting = soundness.beginning(file, scratch, "...")
            sample = scanning.collect(scanning.scan(plain, quoting=quoting).head(SAMPLE_ROWS), file)
        except BadInput as error:
            unread[name] = error
            continue
        sample = sample.filter(~pl.all_horizontal(pl.all().is_null()))
        as_items = names.match(sample.columns, _ITEM)
        if "item_id" not in as_items:  # `id` alone names an item only in a table without users
            bare = [column for column in sample.columns if names.folded(column) == "id"]
            as_items |= {"item_id": bare[0]} if bare else {}
        as_interactions = names.match(sample.columns, _INTERACTION)
        for number in ("position", "rating"):
            if number in as_interactions and not _numeric(sample[as_interactions[number]]):
                del as_interactions[number]
        candidates.append(Candidate(name, sample, as_interactions, as_items, quoting, file))
    return candidates, unread


def _numeric(values: pl.Series) -> bool:
    if values.dtype.is_nested():
        return False
    text = values.drop_nulls().cast(pl.String).str.strip_chars()
    return text.filter(text != "").cast(pl.Float64, strict=False).null_count() == 0


def _joined(candidates: Sequence[Candidate]) -> tuple[list[Candidate], dict[str, str]]:
    """Files of the same columns as one table, in the order of their names; and those left out, as they are copies.

    Raises `BadInput` for parts that are quoted in different ways.
    """
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for one in candidates:
        usable = one.is_interactions or one.is_items
        groups.setdefault(tuple(sorted(one.sample.columns)) if usable else (one.name,), []).append(one)
    tables, copies = [], {}
    for group in groups.values():
        parts: list[Candidate] = []
        for one in sorted(group, key=lambda one: -one.sample.height):
            whole = next((part for part in parts if _begins_with(part.sample, one.sample)), None)
            if whole is None:
                parts.append(one)
            else:
                copies[one.name] = f"its first rows stand in {whole.name} as well: a copy, which would count double"
        tables.append(_one_table(sorted(parts, key=lambda part: part.name)))
    return tables, copies


def _one_table(parts: list[Candidate]) -> Candidate:
    head = parts[0]
    if len(parts) == 1:
        return head
    columns = [column for column in head.sample.columns if not head.sample[column].dtype.is_nested()]
    sample = pl.concat([part.sample.select(pl.col(columns).cast(pl.String)) for part in parts])
    names_ = tuple(part.name for part in parts)
    return dataclasses.replace(head, sample=sample, quoting=_common_quoting(parts), parts=names_)


def _common_quoting(parts: Sequence[Candidate]) -> Quoting | None:
    """The dialect in which all parts are sound. Raises `BadInput` where there is none."""
    found = list(dict.fromkeys(part.quoting for part in parts))
    delimited = [part.file for part in parts if part.quoting and part.file]
    for dialect in found:
        if dialect is None or len(found) == 1 or all(soundness.is_sound(file, dialect) for file in delimited):
            return dialect
    shown = ", ".join(f"{part.name} is {part.quoting}" for part in parts)
    raise BadInput(
        f"files of the same columns are quoted in different ways, and no way fits all: {shown}",
        where=", ".join(part.name for part in parts),
        mend="write them in one way, or name the file to read in ingest.interactions or ingest.items",
    )


def _begins_with(whole: pl.DataFrame, part: pl.DataFrame) -> bool:
    """Whether the rows of `part` are the first ones of `whole`: a copy, or an older export of the same table."""
    same = set(whole.columns) == set(part.columns) and 0 < part.height <= whole.height
    return same and whole.head(part.height).select(part.columns).equals(part)


def _best(folder: Path, tables: list[Candidate], role: str) -> Candidate | None:
    """The table with most known columns; of equals the largest."""
    return max(
        tables,
        key=lambda one: (
            len(getattr(one, role)),
            sum((folder / name).stat().st_size for name in one.files),
            one.name,
        ),
        default=None,
    )


def _named(table: Candidate) -> str | list[str]:
    return table.files if table.parts else table.name


def _nothing_fits(
    folder: Path,
    candidates: list[Candidate],
    unread: dict[str, BadInput],
    interactions: Candidate | None,
    items: Candidate | None,
) -> BadInput:
    lacking = [
        text
        for one, text in (
            (interactions, "table with a user and an item column (the interactions)"),
            (items, "table with an item column and a title, category or description (the items)"),
        )
        if one is None
    ]
    seen = [f"{one.name}: {', '.join(one.sample.columns[:10])}" for one in candidates]
    seen += [f"{name}: {why}" for name, why in (_reasons(unread) | _folders(folder)).items()]
    broken = [error for name, error in unread.items() if rawfiles.kind_of(name) is not None]
    return BadInput(
        f"no known format, and there is no {' and no '.join(lacking)}; found {'; '.join(seen[:12])}",
        where=broken[0].where if broken else str(folder),
        mend=broken[0].mend
        if broken
        else "name the columns user_id, item_id, title, ..., or write ingest.columns by hand (docs/data.md)",
    )


def _reasons(unread: dict[str, BadInput]) -> dict[str, str]:
    reasons = {}
    for name, error in unread.items():
        line = re.search(r", line \d+$", error.where)
        known = rawfiles.kind_of(name) is not None
        reasons[name] = f"{error.what}{line[0] if line else ''}" if known else "its ending says no kind of table"
    return reasons


def _folders(folder: Path) -> dict[str, str]:
    """Folders that hold no table, by the endings of their files."""
    return dict.fromkeys(rawfiles.others(folder, rawfiles.tables_in(folder)), "no file in it is a table by its ending")


def _no_part_unread(folder: Path, unread: dict[str, BadInput], table: Candidate) -> None:
    """Raise the error of a file that cannot be read, if its first line says that it belongs to a table that can."""
    columns = set(table.sample.columns)
    for name, error in unread.items():
        if rawfiles.kind_of(name) is None:
            continue
        first = rawfiles.first_line(folder / name)
        for separator in (",", "\t", ";", "|"):
            if len(columns) > 1 and {part.strip().strip('"') for part in first.split(separator)} == columns:
                raise BadInput(
                    f"{name} has the columns of {table.name} and cannot be read: {error.what}",
                    where=error.where,
                    mend=f"{error.mend}; or move it away, if it does not belong to this data",
                ) from error


def _no_part_left(tables: Sequence[Candidate], table: Candidate) -> None:
    """Raise `BadInput` for a file that seems to be a part of `table` and could not be read with it.

    Its name differs in numbers or months alone, or its header is a row of that table.
    """
    shapes = [shape_of(str(value)) for value in table.sample.row(0)] if table.sample.height else []
    for other in tables:
        if other is table or (other.is_items, other.is_interactions) == (not table.is_items, not table.is_interactions):
            continue
        columns = other.sample.columns
        if not other.is_interactions and not other.is_items:
            told = [(shape_of(name), shape) for name, shape in zip(columns, shapes, strict=False) if "9" in shape]
            if len(columns) == len(shapes) and told and all(name == shape for name, shape in told):
                raise BadInput(
                    f"{other.name} has no header: its first line looks like a row of {table.name}",
                    where=other.name,
                    mend=f"write the header of {table.name} into it, or move it away",
                )
        elif _series(other.name) == _series(table.name):
            differ = sorted(set(columns) ^ set(table.sample.columns))
            raise BadInput(
                f"{other.name} and {table.name} seem to be parts of one table, and have different columns: "
                f"{', '.join(differ[:12])} in one of them only",
                where=f"{other.name} and {table.name}",
                mend="give all parts the same columns, or move away what does not belong to this data",
            )


def _series(name: str) -> str:
    """A file name without its numbers and months, if it has some: `2019-Oct.csv` and `2019-Nov.csv` are a series."""
    shape = re.sub(r"\d+", "9", _MONTH.sub("9", name.lower()))
    return shape if "9" in shape else name


def _others(
    tables: Sequence[Candidate], unread: dict[str, str], interactions: Candidate, items: Candidate
) -> list[str]:
    """Every file that is not read, with what it holds or why it could not be read."""
    lines = []
    for one in tables:
        if one is interactions or one is items:
            continue
        could = " could be interactions as well," if one.is_interactions else " could be items," if one.is_items else ""
        lines.append(f"Not read: {', '.join(one.files)};{could} columns {', '.join(one.sample.columns[:12])}")
    return lines + [f"Not read: {name}; {why}" for name, why in unread.items()]
