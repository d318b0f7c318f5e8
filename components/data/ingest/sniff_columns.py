"""Which column of a plain table is what: by common names, checked on the first rows; and the lines that say so.

Every guess is said with an example value, and what is not used is named: columns, kinds of events. What looks like a
time and cannot be read is refused, as the order of the file in its place would be an invented one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.data.canonical.tables import LIST_COLUMNS, RawFile
from components.data.ingest import relations, times
from components.data.ingest.values import as_record, flat
from components.errors import BadInput
from components.settings.params import Quoting

SAMPLE_ROWS = 10_000
SEPARATORS = (" > ", "|", ";", ", ", ",")
"""Tried in this order: a category path "Creams, Gels > Oils" is split at the rarer mark."""
_TEXT = {"title", "brand", "categories", "description", "attributes"}
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


def account(role: str, table: Candidate, chosen: dict[str, str]) -> list[str]:
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


def mapping(
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


def with_time(interactions: Candidate) -> tuple[dict[str, str], list[str]]:
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


def events(interactions: Candidate, chosen: dict[str, str]) -> list[str]:
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


def about_quotes(table: str, candidate: Candidate) -> list[str]:
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


def about_relations(triples: Sequence[Candidate]) -> list[str]:
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


def flags(items: Candidate) -> list[str]:
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


def list_separator(items: Candidate) -> str | None:
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


def overlap_line(interactions: Candidate, items: Candidate) -> list[str]:
    bought = interactions.sample[interactions.as_interactions["item_id"]].cast(pl.String).str.strip_chars().unique()
    known = items.sample[items.as_items["item_id"]].cast(pl.String).str.strip_chars()
    if items.sample.height < SAMPLE_ROWS and not bought.is_in(known.implode()).any():
        return ["Beware: no item of the first interactions is in the item table; are these the right id columns?"]
    return []
