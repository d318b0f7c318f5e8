"""Which of a folder's plain tables is which, and which column is what: by common names, checked on the first rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical.tables import LIST_COLUMNS, RawFile
from components.data.ingest import names, rawfiles, scanning, times
from components.data.ingest.catalogue import flat
from components.errors import BadInput

SAMPLE_ROWS = 10_000
SAMPLE_BYTES = 64 * 2**20
"""Of a packed file only the beginning is unpacked to look at it."""
SEPARATORS = (" > ", "|", ";", ", ", ",")
"""Tried in this order: a category path "Creams, Gels > Oils" is split at the rarer mark."""
_INTERACTION = ("user_id", "item_id", "position", "timestamp", "rating")
_ITEM = ("item_id", "title", "brand", "categories", "description", "price", "attributes", "image_labels", "image_url")
_TEXT = {"title", "brand", "categories", "description", "attributes"}


@dataclass(frozen=True)
class Candidate:
    """A file that reads as a table, with its first rows and what its columns could be."""

    name: str
    sample: pl.DataFrame
    as_interactions: dict[str, str]
    as_items: dict[str, str]

    @property
    def is_interactions(self) -> bool:
        return {"user_id", "item_id"} <= self.as_interactions.keys()

    @property
    def is_items(self) -> bool:
        return "item_id" in self.as_items and bool(_TEXT & self.as_items.keys())


def suggest_table(folder: Path, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """The `ingest` section (without path) for two plain tables, and lines that explain it. Raises `BadInput`."""
    candidates, unread = _candidates(folder, scratch)
    interactions = max(
        (one for one in candidates if one.is_interactions),
        key=lambda one: (len(one.as_interactions), (folder / one.name).stat().st_size, one.name),
        default=None,
    )
    items = max(
        (
            one
            for one in candidates
            if one.is_items and one is not interactions and "user_id" not in one.as_interactions
        ),
        key=lambda one: (len(one.as_items), (folder / one.name).stat().st_size, one.name),
        default=None,
    )
    if interactions is None or items is None:
        raise _nothing_fits(folder, candidates, unread, interactions, items)
    found: dict[str, Any] = {"format": "table", "items": items.name, "interactions": interactions.name}
    chosen = dict(interactions.as_interactions)
    lines = [
        f"Interactions: {interactions.name} ({_columns(chosen)})",
        f"Items: {items.name} ({_columns(items.as_items)})",
    ]
    lines += _time_line(interactions, chosen)
    columns = _mapping(chosen, items.as_items, set(interactions.sample.columns), set(items.sample.columns))
    if columns:
        found["columns"] = columns
    separator = _list_separator(items)
    if separator is not None:
        found["list_separator"] = separator
        lines.append(f"Lists come as one text and are split at {separator!r}.")
    lines += _overlap_line(interactions, items)
    return found, lines


def _candidates(folder: Path, scratch: Path) -> tuple[list[Candidate], dict[str, str]]:
    candidates, unread = [], {}
    for name in rawfiles.names_in(folder):
        if rawfiles.kind_of(name) is None:
            unread[name] = "of no known ending"
            continue
        try:
            file = rawfiles.prepare(folder / name, scratch, limit=SAMPLE_BYTES)
            sample = scanning.collect(scanning.scan(file).head(SAMPLE_ROWS), file)
        except BadInput as error:
            unread[name] = error.what
            continue
        as_items = names.match(sample.columns, _ITEM)
        if "item_id" not in as_items:  # `id` alone names an item only in a table without users
            plain = [column for column in sample.columns if names.folded(column) == "id"]
            as_items |= {"item_id": plain[0]} if plain else {}
        candidates.append(Candidate(name, sample, names.match(sample.columns, _INTERACTION), as_items))
    return candidates, unread


def _nothing_fits(
    folder: Path,
    candidates: list[Candidate],
    unread: dict[str, str],
    interactions: Candidate | None,
    items: Candidate | None,
) -> BadInput:
    lacking = [
        text
        for one, text in (
            (interactions, "a table with a user and an item column (the interactions)"),
            (items, "a table with an item column and a title, category or description (the items)"),
        )
        if one is None
    ]
    seen = [f"{one.name}: {', '.join(one.sample.columns[:10])}" for one in candidates]
    seen += [f"{name}: {why}" for name, why in unread.items()]
    return BadInput(
        f"no known format, and no {' and no '.join(lacking)}; found {'; '.join(seen[:12])}",
        where=str(folder),
        mend="name the columns user_id, item_id, title, ..., or write ingest.columns by hand (docs/data.md)",
    )


def _columns(chosen: dict[str, str]) -> str:
    return ", ".join(name if name == raw else f"{name} from {raw!r}" for name, raw in chosen.items())


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


def _time_line(interactions: Candidate, chosen: dict[str, str]) -> list[str]:
    """Say in which unit the times are; a column that holds no times is not mapped."""
    if "timestamp" not in chosen:
        order = "the given position" if "position" in chosen else "the order in the file"
        return [f"There is no time column: the order within a user is {order}."]
    file = RawFile(shown=interactions.name, path=Path(interactions.name), kind="lines")
    try:
        _, unit = times.to_utc(interactions.sample[chosen["timestamp"]], file)
    except BadInput as error:
        return [f"Column {chosen.pop('timestamp')!r} is not used as time: {error.what[:120]}"]
    epochs = {"s": "epoch seconds", "ms": "epoch milliseconds", "us": "epoch microseconds", "ns": "epoch nanoseconds"}
    spoken = epochs | {"none": "none in the first rows", "iso": "dates as text"}
    return [f"Times: {spoken.get(unit, unit)}."]


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
    bought = interactions.sample[interactions.as_interactions["item_id"]].cast(pl.String).unique()
    known = items.sample[items.as_items["item_id"]].cast(pl.String)
    if items.sample.height < SAMPLE_ROWS and not bought.is_in(known.implode()).any():
        return ["Beware: no item of the first interactions is in the item table; are these the right id columns?"]
    return []
