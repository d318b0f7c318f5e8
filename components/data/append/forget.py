"""Honours a request to delete: users and items go from the drops, and no later drop or raw file brings them back.

    done = forget(layout, store, "user", ["C100891"], now=datetime.now(UTC), by="ada@shop1")

The record of it has a keyed hash of each id, when, by whom, and what was removed; the id in clear stands nowhere. The
stage `ingest` leaves them out of its tables from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.drops.forgotten import FORGOTTEN, Forgotten, Kind
from components.data.drops.store import INTERACTIONS, ITEMS, Store, write
from components.errors import BadInput
from components.storage.layout import Layout


@dataclass(frozen=True)
class Forgot:
    """What a deletion removed."""

    new: int
    """Ids that were not deleted before."""
    lines: list[str]


def ids_in(path: Path) -> list[str]:
    """Ids of a file, one a line; empty lines are none. Raises `BadInput` for a file without any."""
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("cannot be read as a text of ids", where=str(path), mend="write one id a line, UTF-8") from error
    if not any(found):
        raise BadInput("the file names no id", where=str(path), mend="write one id a line")
    return [each for each in found if each]


def forget(layout: Layout, store: Store, kind: Kind, ids: Sequence[str], *, now: datetime, by: str) -> Forgot:
    """Delete `ids` and record it; what was deleted before is left as it is. The caller holds `store.alone()`.

    The store changes in one step: after a kill everything is gone, or nothing.
    """
    forgotten = store.forgotten()
    new = [name for name in dict.fromkeys(ids) if not forgotten.has(kind, name)]
    if not new:
        return Forgot(0, [f"all {len(ids):,} were deleted before: nothing is changed"])
    tables = _tables(layout)
    removed = {name: _held(tables, kind, name) for name in new}
    with store.exchanging() as changed:
        for drop in changed.drops():
            for table, file in ((drop.interactions, INTERACTIONS), (drop.items, ITEMS)):
                if table is None or f"{kind}_id" not in table.columns:
                    continue
                gone = table[f"{kind}_id"].is_in(new)
                if gone.any():
                    for name, count in table.filter(gone)[f"{kind}_id"].value_counts().iter_rows():
                        removed[name]["rows_of_drops"] += count
                    write(table.filter(~gone), drop.folder / file)
        entries = [
            {"kind": kind, "hash": forgotten.hash_of(kind, name), "at": f"{now:%Y-%m-%d %H:%M:%S}", "by": by}
            | {"removed": removed[name]}
            for name in new
        ]
        forgotten.with_entries(entries).write(changed.folder / FORGOTTEN)
    return Forgot(len(new), _lines(kind, removed, len(ids) - len(new), store))


def _tables(layout: Layout) -> dict[str, pl.LazyFrame]:
    """The canonical tables that were published, if there are any."""
    there = {"interactions": layout.interactions, "items": layout.items}
    return {name: coded.scan(path, {"item_id": pl.String}) for name, path in there.items() if path.is_file()}


def _held(tables: dict[str, pl.LazyFrame], kind: Kind, name: str) -> dict[str, int]:
    """Rows of an id in the canonical tables."""
    held = {"rows_of_drops": 0}
    for table, frame in tables.items():
        if f"{kind}_id" in frame.collect_schema():
            held[table] = frame.filter(pl.col(f"{kind}_id") == name).select(pl.len()).collect().item()
    return held


def _lines(kind: Kind, removed: dict[str, dict[str, Any]], before: int, store: Store) -> list[str]:
    total = {name: sum(each.get(name, 0) for each in removed.values()) for name in ("interactions", "items")}
    lines = [
        f"deleted {len(removed):,} {kind}s: {total['interactions']:,} interactions and {total['items']:,} rows of the "
        f"item table, {sum(each['rows_of_drops'] for each in removed.values()):,} rows of drops"
    ]
    if before:
        lines.append(f"{before:,} were deleted before")
    if strangers := sum(not any(each.values()) for each in removed.values()):
        lines.append(f"warning: nothing was there of {strangers:,} of them; later drops are filtered all the same")
    if held := [path for path in store.quarantine.glob("[!.]*") if path.is_dir()]:
        lines.append(f"warning: {len(held)} refused drops lie in {store.quarantine} and were not looked through")
    return lines


def is_forgotten(forgotten: Forgotten, table: pl.DataFrame) -> bool:
    """Whether a table of `user_id` and lists `item_ids` (scores) holds anybody or anything that was deleted."""
    return bool(
        forgotten.among("user", table["user_id"].unique()).any()
        or forgotten.among("item", table["item_ids"].explode().unique()).any()
    )
