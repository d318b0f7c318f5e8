"""Raw files in any supported format -> canonical tables.

    from components.data.ingest.ingest import ingest
    ingest(params.ingest, workspace / params.ingest.path, Layout(workspace, params.dataset))

Everything is read and checked before anything is published: on bad input the artifacts of the last run stay.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import polars as pl

from components.data.canonical.tables import Tables
from components.data.ingest import catalogue, interactions
from components.errors import BadInput
from components.settings.params import Format, Ingest
from components.storage import artifacts
from components.storage.layout import Layout


def ingest(settings: Ingest, raw: Path, layout: Layout) -> dict[str, Any]:
    """Read `raw`, publish items.parquet, interactions.parquet and report.json, and return the report.

    Raises `BadInput` (what, where, mend) for anything that cannot be read, and `GateRefused` for sequences that are
    sorted by item code (format p5); nothing is published then.
    """
    source = reader(settings.format)
    with tempfile.TemporaryDirectory(prefix="idiom-ingest-") as scratch:
        tables: Tables = source.read(settings, raw, Path(scratch))
        history, about_interactions = interactions.canonical(
            tables.interactions, tables.interactions_file, min_rating=settings.min_rating
        )
        items, about_items = catalogue.canonical(
            tables.items,
            tables.items_file,
            interacted=history.items.alias("item_id"),
            list_separator=settings.list_separator,
        )
    report: dict[str, Any] = {
        "format": settings.format,
        "items": about_items,
        "interactions": about_interactions,
        "reader": dict(tables.facts),
    }
    report["notes"] = notes(report)
    outputs = (layout.items, layout.interactions, layout.ingest_report)
    with artifacts.publishing_together(*outputs) as (items_to, interactions_to, report_to):
        _write(items.lazy(), items_to)
        _write(interactions.decoded(history), interactions_to)
        artifacts.publish_json(report_to, report)
    return report


def reader(name: str) -> ModuleType:
    """The module of `readers/` that is named as the format, imported only when it is used: its `read`, `recognised`.

    Raises `BadInput` for an unknown name.
    """
    if name not in get_args(Format):
        raise BadInput(
            f"unknown format {name!r}",
            where="ingest.format",
            mend=f"one of {', '.join(get_args(Format))}; `idiom init` finds out",
        )
    return importlib.import_module(f"components.data.ingest.readers.{name}")


def notes(report: dict[str, Any]) -> list[str]:
    """What is odd about the input, one sentence each, for people."""
    items, history = report["items"], report["interactions"]
    order = {
        "position": "Order within a user: the given position.",
        "timestamp": "Order within a user: time; equal times in file order.",
        "file": "The source has neither time nor position: file order is taken as the order of each user's history.",
    }[history["order"]]
    counted = [
        (history["steps_back_in_time"], "steps of a history go back in time against the given order"),
        (history["steps_at_the_same_time"], "steps of a history have the same time as the one before"),
        (history["rows_without_time"], "interactions have no time"),
        (history.get("rows_without_position", 0), "interactions have no position, so that none is used"),
        (history.get("users_in_file_order", 0), "users lack some times and are kept in file order"),
        (history["repeats"], "interactions repeat an item that the user has already"),
        (history.get("below_min_rating", 0), "interactions were rated below min_rating and left out"),
        (items["not_in_item_table"], "items are interacted with, but are not in the item table (kept, without text)"),
        (items["without_title"], "items have no title"),
        (items["equal_rows_collapsed"], "item rows stood twice and were collapsed"),
        (items["conflicting_rows_dropped"], "item rows contradicted another of the same id; the longest text stayed"),
        (items["without_interaction"], "items have no interaction"),
    ]
    lines = [order] + [f"{count:,} {what}." for count, what in counted if count]
    if items["columns_left_out"]:
        lines.append(f"Item columns without text, left out: {', '.join(items['columns_left_out'])}.")
    return lines


def _write(table: pl.LazyFrame, path: Path) -> None:
    """Fixed settings and a kept order: the same table gives the same bytes."""
    try:
        table.sink_parquet(
            path, compression="zstd", compression_level=3, row_group_size=1 << 18, statistics=True, maintain_order=True
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        mend = "make room on that disk, or make the folder writable"
        raise BadInput(f"cannot write the table: {error}", where=str(path.parent), mend=mend) from error
