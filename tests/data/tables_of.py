"""Small canonical tables for tests, and the slow, obvious references that the Polars paths are held against."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from components.storage.artifacts import publish_json
from components.storage.layout import Layout

Event = tuple[str, str, datetime | None]
START = datetime(2014, 1, 1, tzinfo=UTC)
INTERACTIONS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "position": pl.Int32,
    "timestamp": pl.Datetime("us", "UTC"),
}


def events(histories: dict[str, str], *, timed: bool = True) -> list[Event]:
    """`{"u1": "a b c"}` -> one event a day for each user, in this order."""
    return [
        (user, item, START + timedelta(days=day) if timed else None)
        for user, items in histories.items()
        for day, item in enumerate(items.split())
    ]


def interactions(rows: list[Event]) -> pl.DataFrame:
    """Events in their order within each user -> the canonical table."""
    seen: Counter[str | None] = Counter()
    table = []
    for user, item, moment in rows:
        table.append((user, item, seen[user], moment))
        seen[user] += 1
    return pl.DataFrame(table, schema=INTERACTIONS, orient="row").sort("user_id", "position")


def catalogue(titles: dict[str, str | None], **columns: Any) -> pl.DataFrame:
    """`{"a": "Apple soap"}` and further columns in the same order -> the canonical items."""
    return pl.DataFrame(
        {"item_id": list(titles), "title": list(titles.values()), **columns},
        schema_overrides={"item_id": pl.String, "title": pl.String},
    ).sort("item_id")


def workspace(folder: Path, items: pl.DataFrame, rows: pl.DataFrame, *, passed: bool | None = None) -> Layout:
    """A workspace with these canonical tables and, if `passed` is given, a verdict."""
    layout = Layout(folder, "tiny")
    layout.items.parent.mkdir(parents=True, exist_ok=True)
    items.write_parquet(layout.items)
    rows.write_parquet(layout.interactions)
    if passed is not None:
        publish_json(layout.verdict, {"passed": passed, "critical_failures": [] if passed else ["time_goes_forward"]})
    return layout


def shop(users: int = 12, items: int = 15, length: int = 6) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A shop that passes every check: no repeats, orders that follow no code, users who come on different days."""
    names = {f"i{number:02}": f"Soap number {number}" for number in range(items)}
    rows: list[Event] = []
    for user in range(users):
        basket = random.Random(user).sample(list(names), length)
        rows += [(f"u{user:02}", item, START + timedelta(days=2 * step + user)) for step, item in enumerate(basket)]
    return catalogue(dict(names)), interactions(rows)


def real(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One of the real data sets as canonical tables, read without the project's readers."""
    table = pl.read_csv(
        folder / "interactions.tsv.gz",
        separator="\t",
        schema_overrides={"user_id": pl.String, "item_id": pl.String, "pos": pl.Int32, "timestamp": pl.Int64},
    )
    moment = pl.from_epoch("timestamp", "s").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    rows = table.select("user_id", "item_id", position="pos", timestamp=moment).sort("user_id", "position")
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as stream:
        items = [json.loads(line) for line in stream]
    for item in items:
        categories = item.get("categories")
        if isinstance(categories, str):
            item["categories"] = categories.split(",")
        elif categories:
            item["categories"] = [name for path in categories for name in path]
    return pl.DataFrame(items, infer_schema_length=None).sort("item_id"), rows


def slow_k_core(rows: list[tuple[str, str]], per_user: int, per_item: int) -> list[tuple[str, str]]:
    """k-core by definition: drop one offender at a time until there is none."""
    rows = list(rows)
    while True:
        users, items = Counter(user for user, _ in rows), Counter(item for _, item in rows)
        offender = next((row for row in rows if users[row[0]] < per_user or items[row[1]] < per_item), None)
        if offender is None:
            return rows
        rows.remove(offender)


def slow_leave_one_out(histories: dict[str, list[str]]) -> dict[str, dict[str, tuple[list[str], str] | list[str]]]:
    """Per user: history, valid and test as (context, target); a user with fewer than three items only teaches."""
    result: dict[str, dict[str, tuple[list[str], str] | list[str]]] = {}
    for user, items in histories.items():
        if len(items) < 3:
            result[user] = {"history": items}
        else:
            *history, valid, test = items
            result[user] = {"history": history, "valid": ([], valid), "test": ([valid], test)}
    return result


def slow_global_time(
    histories: dict[str, list[tuple[str, datetime | None]]], valid_from: datetime, test_from: datetime
) -> dict[str, dict[str, tuple[list[str], str] | list[str]]]:
    """The same by two dates: a target is the user's first item on or after its date."""
    result: dict[str, dict[str, tuple[list[str], str] | list[str]]] = {}
    for user, rows in histories.items():
        if any(moment is None for _, moment in rows):
            continue
        timed = [(item, moment) for item, moment in rows if moment is not None]
        history = [item for item, moment in timed if moment < valid_from]
        middle = [item for item, moment in timed if valid_from <= moment < test_from]
        future = [item for item, moment in timed if moment >= test_from]
        if not history:
            continue
        result[user] = {"history": history}
        if middle:
            result[user]["valid"] = ([], middle[0])
        if future:
            result[user]["test"] = (middle, future[0])
    return result
