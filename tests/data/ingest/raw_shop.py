"""A small shop of ten products and a dozen users in raw files, written as a test wants them, and read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.data.ingest.ingest import ingest
from components.data.ingest.sniff import suggest
from components.errors import BadInput
from components.settings.file import from_dict
from components.settings.params import Ingest
from components.storage.layout import Layout

Event = tuple[str, str, int]
ITEMS = [(f"p{number:02}", f"Alder kettle number {number}") for number in range(10)]


def events() -> list[Event]:
    """(user, item, epoch seconds), mixed over the users and not in order of time; six items of each user."""
    found = [
        (f"u{user:02}", f"p{(user * 3 + step * 7) % 10:02}", 1_600_000_000 + 90_000 * step + 97 * user)
        for user in range(12)
        for step in range(6)
    ]
    return sorted(found, key=lambda event: (event[2] * 7919) % 1009)


def histories(rows: Sequence[Event]) -> dict[str, list[str]]:
    """What has to come out: the items of each user, oldest first."""
    users = sorted({user for user, _, _ in rows})
    return {name: [item for user, item, _ in sorted(rows, key=lambda row: row[2]) if user == name] for name in users}


TRUTH = histories(events())


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def table(head: str, rows: Sequence[Sequence[object]], separator: str = ",") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in [head.split(","), *rows])


def write(folder: Path, interactions: str | bytes | None = None, items: str | bytes | None = None, **more: Any) -> Path:
    """events.csv and items.csv in `folder` (None: the sound ones), and further files: `name__csv="..."`."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str | bytes] = {
        "events.csv": interactions if interactions is not None else table("user_id,item_id,timestamp", events()),
        "items.csv": items if items is not None else table("item_id,title", ITEMS),
    }
    files |= {name.replace("__", "."): content for name, content in more.items()}
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def timed(form: Callable[[int], object], column: str = "timestamp") -> str:
    """The interactions with their times in another form."""
    return table(f"user_id,item_id,{column}", [(user, item, form(moment)) for user, item, moment in events()])


@dataclass(frozen=True)
class Read:
    """What came out of a folder: the tables, the report, what `init` wrote and said."""

    params: dict[str, Any]
    said: str
    report: dict[str, Any]
    histories: dict[str, list[str]]
    items: dict[str, dict[str, Any]]
    interactions: pl.DataFrame


def read(folder: Path, to: Path, **settings: Any) -> Read:
    """`idiom init`, then `ingest` with what it wrote and `settings`."""
    found = suggest(folder)
    section = {**found["params"]["ingest"], **settings}
    layout = Layout(to, "small")
    report = ingest(from_dict({"ingest": section}).ingest, folder, layout)
    return _read(layout, report, section, "\n".join(found["lines"]))


def ingested(folder: Path, to: Path, **settings: Any) -> Read:
    """`ingest` alone, by parameters written by hand."""
    layout = Layout(to, "small")
    return _read(layout, ingest(Ingest(**{"format": "table", **settings}), folder, layout), settings, "")


def _read(layout: Layout, report: dict[str, Any], params: dict[str, Any], said: str) -> Read:
    rows = pl.read_parquet(layout.interactions)
    account = report["conservation"]["interactions"]
    assert account["records"] == account["kept"] + sum(account["set_aside"].values())
    assert account["kept"] == rows.height
    items = {row.pop("item_id"): row for row in pl.read_parquet(layout.items).to_dicts()}
    lists = dict(rows.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    return Read(params, said, report, lists, items, rows)


def noted(*notes: tuple[int, str]) -> str:
    """The interactions with a column of notes, some of them as given: (row from 0, what stands there)."""
    special = dict(notes)
    rows = [(*event, special.get(number, "ok")) for number, event in enumerate(events())]
    return table("user_id,item_id,timestamp,note", rows)


def refused(folder: Path, *parts: str) -> None:
    """`idiom init` says no, with all of `parts`."""
    with pytest.raises(BadInput) as caught:
        suggest(folder)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
