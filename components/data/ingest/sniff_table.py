"""Which of a folder's plain tables is which, and which column is what: by common names, checked on the first rows.

Every guess is said with an example value, and whatever is not used is named: files, columns, kinds of events. What
looks like a time and cannot be read is refused, as the order of the file in its place would be an invented one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical.tables import LIST_COLUMNS, RawFile
from components.data.ingest import names, rawfiles, records, relations, scanning, times
from components.data.ingest.values import as_record, flat
from components.errors import BadInput
from components.settings.params import Quoting

SAMPLE_ROWS = 10_000
SAMPLE_BYTES = 64 * 2**20
"""Of a packed file only the beginning is unpacked to look at it."""
SEPARATORS = (" > ", "|", ";", ", ", ",")
"""Tried in this order: a category path "Creams, Gels > Oils" is split at the rarer mark."""
_INTERACTION = ("user_id", "item_id", "position", "timestamp", "event", "rating")
_ITEM = ("item_id", "title", "brand", "categories", "description", "price", "attributes", "image_labels", "image_url")
_TEXT = {"title", "brand", "categories", "description", "attributes"}
_MONTH = re.compile(r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}(?![a-z])")
_MOST_KINDS = 30
"""A column of more different values is no kind of event."""
_UNITS = {"s": "epoch seconds", "ms": "epoch milliseconds", "us": "epoch microseconds", "ns": "epoch nanoseconds"}
_UNITS |= {"none": "none in the first rows", "iso": "dates as text"}


@dataclass(frozen=True)
class Candidate:
    """A file that reads as a table, with its first rows and what its columns could be."""

    name: str
    sample: pl.DataFrame
    as_interactions: dict[str, str]
    as_items: dict[str, str]
    quoting: Quoting | None = None
    """The dialect of a delimited file; None for others."""
    file: RawFile | None = None
    parts: tuple[str, ...] = ()
    """Names of all files of this table, where it is more than one."""

    @property
    def is_interactions(self) -> bool:
        return {"user_id", "item_id"} <= self.as_interactions.keys()

    @property
    def is_items(self) -> bool:
        return "item_id" in self.as_items and bool(_TEXT & self.as_items.keys())

    @property
    def files(self) -> list[str]:
        return list(self.parts) or [self.name]

    def example(self, column: str) -> str:
        """A value of the column, as people recognise it."""
        present = self.sample[column].drop_nulls()
        if not present.dtype.is_nested():
            text = present.cast(pl.String)
            present = present.filter(text.str.strip_chars() != "")
        return "empty" if present.is_empty() else f"e.g. {str(present[0])[:60]!r}"


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
    chosen, about_times = _with_time(interactions)
    about_events = _events(interactions, chosen)
    lines = _account("Interactions", interactions, chosen) + _account("Items", items, items.as_items)
    reasons = {**copies, **_reasons(unread), **_folders(folder)}
    if triples:
        found["relations"] = [one.name for one in triples] if len(triples) > 1 else triples[0].name
        lines += _about_relations(triples)
    lines += about_times + about_events + _others(tables, reasons, interactions, items)
    columns = _mapping(chosen, items.as_items, set(interactions.sample.columns), set(items.sample.columns))
    if columns:
        found["columns"] = columns
    quoting = {"items": items.quoting, "interactions": interactions.quoting}
    quoting |= {"relations": _common_quoting(triples)} if triples else {}
    if any(quoting.values()):
        found["quoting"] = {table: dialect for table, dialect in quoting.items() if dialect}
    lines += _about_quotes("interactions", interactions) + _about_quotes("items", items)
    separator = _list_separator(items)
    if separator is not None:
        found["list_separator"] = separator
        lines.append(f"Lists come as one text and are split at {separator!r}.")
    lines += _flags(items) + _overlap_line(interactions, items)
    return found, lines


def _candidates(folder: Path, scratch: Path) -> tuple[list[Candidate], dict[str, BadInput]]:
    candidates, unread = [], {}
    for name in rawfiles.tables_in(folder):
        try:
            file = rawfiles.prepare(folder / name, scratch, limit=SAMPLE_BYTES)
            plain, quoting = scanning.beginning(file, scratch, "...")
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
        if dialect is None or len(found) == 1 or all(scanning.is_sound(file, dialect) for file in delimited):
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
    shapes = [records.shape_of(str(value)) for value in table.sample.row(0)] if table.sample.height else []
    for other in tables:
        if other is table or (other.is_items, other.is_interactions) == (not table.is_items, not table.is_interactions):
            continue
        columns = other.sample.columns
        if not other.is_interactions and not other.is_items:
            told = [
                (records.shape_of(name), shape) for name, shape in zip(columns, shapes, strict=False) if "9" in shape
            ]
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


def _account(role: str, table: Candidate, chosen: dict[str, str]) -> list[str]:
    """The files of a table, what each column was taken for with an example, and the columns that are not used."""
    files = ", ".join(table.files[:6]) + (f", ... ({len(table.files)} files)" if len(table.files) > 6 else "")
    together = f"{len(table.files)} files of the same columns, read as one table: {files}" if table.parts else files
    guesses = [
        f"{name} {'' if name == raw else f'from {raw!r} '}({table.example(raw)})" for name, raw in chosen.items()
    ]
    lines = [f"{role}: {together}", f"  {', '.join(guesses)}"]
    left = [column for column in table.sample.columns if column not in chosen.values()]
    if left and role == "Interactions":
        lines.append(f"  not used: {', '.join(f'{_spoken(column)} ({table.example(column)})' for column in left)}")
    elif left:
        texts = [column for column in left if _is_text(table.sample[column])]
        others = [column for column in left if column not in texts]
        if texts:
            lines.append(
                f"  kept as further text: {', '.join(f'{column} ({table.example(column)})' for column in texts)}"
            )
        if others:
            lines.append(f"  not used: {', '.join(f'{column} ({table.example(column)})' for column in others)}")
    return lines


def _spoken(column: str) -> str:
    return column or "(a column without a name)"


def _is_text(values: pl.Series) -> bool:
    """Whether a further item column is kept: text, or lists of it, but no records."""
    if values.dtype != pl.String:
        return isinstance(values.dtype, pl.List)
    some = values.drop_nulls().filter(values.drop_nulls().str.strip_chars() != "").head(200).to_list()
    return bool(some) and sum(as_record(text) is not None for text in some) * 2 <= len(some)


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


def _mapping(
    of_interactions: dict[str, str], of_items: dict[str, str], interaction_columns: set[str], item_columns: set[str]
) -> dict[str, str]:
    """`ingest.columns`: what differs from the canonical name; with a table before it where the two tables differ."""
    mapping: dict[str, str] = {}
    for table, chosen, other, others in (
        ("interactions", of_interactions, of_items, item_columns),
        ("items", of_items, of_interactions, interaction_columns),
    ):
        for canonical, raw in chosen.items():
            if raw == canonical:
                continue
            shared = other.get(canonical) == raw or (canonical not in other and not {raw, canonical} & others)
            mapping[canonical if shared else f"{table}.{canonical}"] = raw
    return mapping


def _with_time(interactions: Candidate) -> tuple[dict[str, str], list[str]]:
    """The columns of the interactions with the one that holds the times, and lines that say so.

    A column that bears the name of a time, or has the look of one where nothing bears the name, is used or refused.
    Raises `BadInput` where it cannot be read.
    """
    chosen = dict(interactions.as_interactions)
    lines = []
    named = chosen.get("timestamp")
    if named is not None and not _could_be_time(interactions.sample[named]):
        lines.append(f"Column {named!r} is not used as time: it holds none ({interactions.example(named)}).")
        del chosen["timestamp"]
        named = None
    if named is None:
        left = [column for column in interactions.sample.columns if column not in chosen.values()]
        looking = [column for column in left if _reads_as_time(interactions.sample[column])]
        looking = looking or [column for column in left if times.looks_like_times(interactions.sample[column])]
        looking = [column for column in looking if _varies_like_time(interactions.sample[column])]
        if len(looking) > 1:
            shown = ", ".join(f"{column} ({interactions.example(column)})" for column in looking)
            raise BadInput(
                f"{len(looking)} columns could be the time of an interaction: {shown}",
                where=interactions.name,
                mend="name the one that is `timestamp` in its header, or write params.yaml by hand (ingest.columns)",
            )
        if looking:
            chosen["timestamp"] = named = looking[0]
            lines.append(f"Column {named!r} is taken for the time, by what stands in it.")
    if named is None:
        return chosen, lines + _order_line(chosen)
    file = RawFile(shown=interactions.name, path=Path(interactions.name), kind="lines")
    try:
        _, unit = times.to_utc(interactions.sample[named].alias(named), file)
    except BadInput as error:
        raise BadInput(
            f"column {named!r} looks like the time, and cannot be read: {error.what}",
            where=f"{interactions.name}, column {named}",
            mend=f"{error.mend}; without times the order of the histories would be invented",
        ) from error
    return chosen, [*lines, f"Times: {_UNITS.get(unit, unit)}."]


def _could_be_time(values: pl.Series) -> bool:
    """Whether a column of that name holds times, readable or not: `noon` is none, `20.9.2020` is."""
    if values.dtype.is_temporal() or values.dtype.is_numeric() or values.null_count() == len(values):
        return True
    text = values.cast(pl.String).drop_nulls().str.strip_chars()
    text = text.filter(text != "")
    return text.is_empty() or int(text.str.contains(r"\d").sum()) * 2 > len(text)


def _reads_as_time(values: pl.Series) -> bool:
    """Whether a column is filled and all of it reads as times between 1990 and tomorrow."""
    if values.dtype.is_nested() or values.null_count() * 10 > len(values):
        return False
    try:
        moments, unit = times.to_utc(values, RawFile(shown="", path=Path(), kind="lines"))
    except (BadInput, pl.exceptions.PolarsError):
        return False
    known = moments.drop_nulls()
    return unit != "none" and bool(len(known)) and bool(known.is_between(times.EARLIEST, times.latest()).all())


def _varies_like_time(values: pl.Series) -> bool:
    """More than one value: an export's own date stands in every row and orders nothing."""
    return values.n_unique() > 1 or len(values) == 1


def _order_line(chosen: dict[str, str]) -> list[str]:
    if "position" in chosen:
        return ["There is no time column: the order within a user is the given position."]
    return [
        "ORDER UNKNOWN: there is no time and no position. `ingest` refuses this until params.yaml says `ingest.order: "
        "file`: do that only if the rows stand in the order in which they happened."
    ]


def _events(interactions: Candidate, chosen: dict[str, str]) -> list[str]:
    """The kinds of events with their counts in the first rows; a column of too many values is not one of them."""
    column = chosen.get("event")
    if column is None:
        return []
    values = interactions.sample[column]
    if values.dtype.is_nested() or values.n_unique() > _MOST_KINDS:
        del chosen["event"]
        return []
    counts = values.cast(pl.String).fill_null("").value_counts(sort=True)
    if counts.height < 2:
        return []
    kinds = ", ".join(f"{kind or '(empty)'} {count:,}" for kind, count in counts.head(8).iter_rows())
    return [
        f"Column {column!r} has {counts.height} kinds of events ({kinds} in the first rows): all count alike. Choose "
        f"with ingest.events, such as [{counts[-1, 0]}]; a view before a purchase of the same item stands for both."
    ]


def _about_quotes(table: str, candidate: Candidate) -> list[str]:
    """Say so where the quotes of a table are not read as usual in its kind of file."""
    usual = {"csv": "rfc4180", "tsv": "unquoted", None: None}[candidate.file.kind if candidate.quoting else None]  # type: ignore[union-attr,index]
    if candidate.quoting == usual:
        return []
    spoken = {
        "rfc4180": "as RFC 4180 has it (doubled within a field)",
        "backslash": "with a backslash before those within a field",
        "unquoted": "as characters like any other",
    }
    return [f"Quotes in the {table} are read {spoken[str(candidate.quoting)]}."]


def _about_relations(triples: Sequence[Candidate]) -> list[str]:
    """The relations of the first rows, and those that are left out as they tell what others did."""
    lines = []
    for one in triples:
        raw = relations.columns(one.sample.columns) or {}
        kinds = one.sample[raw["relation"]].cast(pl.String).value_counts(sort=True).drop_nulls()
        shown = ", ".join(f"{kind} {count:,}" for kind, count in kinds.head(8).iter_rows())
        lines.append(
            f"Relations: {one.name}; {', '.join(one.example(name) for name in raw.values())}: {shown} (first rows)"
        )
        if told := sorted(filter(relations.is_behaviour, kinds[raw["relation"]])):
            lines.append(
                f"  set aside: {', '.join(told)}, which tell what others did, perhaps after the moment of a prediction "
                "(docs/views.md)."
            )
    return lines


def _flags(items: Candidate) -> list[str]:
    """Columns whose records become words."""
    lines = []
    for name in LIST_COLUMNS:
        raw = items.as_items.get(name)
        if raw is None or items.sample[raw].dtype != pl.String:
            continue
        some = [text for text in items.sample[raw].drop_nulls().head(1000).to_list() if as_record(text)]
        if some:
            shown = ", ".join(flat(some[0], None)[:3])
            lines.append(f"Records in {raw!r} become words: {shown or 'none of the first'}.")
    return lines


def _list_separator(items: Candidate) -> str | None:
    """The mark that splits the lists of at least half of the items whose lists are one text."""
    for name in LIST_COLUMNS:
        raw = items.as_items.get(name)
        if raw is None or items.sample[raw].dtype != pl.String:
            continue
        texts = [
            text for text in items.sample[raw].drop_nulls().to_list() if text and flat(text, None) == [text.strip()]
        ]
        for separator in SEPARATORS:
            holding = sum(separator in text for text in texts)
            # ", " only where every comma is followed by a space: "A,B, C and D" is two entries, not one and a half.
            spaced = separator != ", " or not any(re.search(r",\S", text) for text in texts)
            if texts and holding * 2 >= len(texts) and spaced:
                return separator
    return None


def _overlap_line(interactions: Candidate, items: Candidate) -> list[str]:
    bought = interactions.sample[interactions.as_interactions["item_id"]].cast(pl.String).str.strip_chars().unique()
    known = items.sample[items.as_items["item_id"]].cast(pl.String).str.strip_chars()
    if items.sample.height < SAMPLE_ROWS and not bought.is_in(known.implode()).any():
        return ["Beware: no item of the first interactions is in the item table; are these the right id columns?"]
    return []
