"""Raw files in any supported format -> canonical tables.

    from components.data.ingest.ingest import ingest
    ingest(params.ingest, workspace / params.ingest.path, Layout(workspace, params.dataset))

Everything is read and checked before anything is published: on bad input the artifacts of the last run stay.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, get_args

import polars as pl

from components.data.canonical.coded import Coded, renumbered
from components.data.canonical.tables import Tables
from components.data.canonical.views import MEDIA, RELATIONS
from components.data.drops.merging import merge
from components.data.drops.store import Store
from components.data.ingest import catalogue, conservation, interactions, media, rawfiles, relations
from components.errors import BadInput
from components.settings.params import Format, Ingest
from components.storage import artifacts
from components.storage.layout import Layout


def ingest(settings: Ingest, raw: Path, layout: Layout, store: Store | None = None) -> dict[str, Any]:
    """Read `raw` and the drops of `store` (None: none), publish items.parquet, interactions.parquet and report.json.

    Returns the report, whose `in_words` say what a person has to know: records that were set aside, files that may
    be cut off.

    Raises `BadInput` (what, where, mend) for anything that cannot be read or accounted for, and `GateRefused` for
    sequences that are sorted by item code (format p5); nothing is published then.
    """
    source = reader(settings.format)
    with tempfile.TemporaryDirectory(prefix="idiom-ingest-") as scratch:
        tables: Tables = source.read(settings, raw, Path(scratch))
        history, items, report = canonical(settings, tables)
        if store is not None:
            history, items, report = _with_drops(history, items, report, store)
        if settings.until is not None:
            history, report = _until(history, settings.until, report)
        triples, pictured, about_views = views(settings, raw, Path(scratch), tables, items, store)
    report = {
        "format": settings.format,
        **report,
        "reader": dict(tables.facts),
        "files": files_of(raw, tables, settings),
    }
    report["conservation"] |= about_views.pop("conservation", {})
    report |= about_views
    report["notes"] = notes(report)
    report["in_words"] = conservation.in_words(report) + report["remarks"] + _other_settings(settings, store)
    report["in_words"] += media.in_words(report.get("media", {}))
    outputs = (layout.items, layout.interactions, layout.relations, layout.media, layout.ingest_report)
    with artifacts.publishing_together(*outputs) as (items_to, interactions_to, relations_to, media_to, report_to):
        _write(items.lazy(), items_to)
        _write(triples.lazy(), relations_to)
        _write(pictured.lazy(), media_to)
        _write(interactions.decoded(history), interactions_to)
        artifacts.publish_json(report_to, report)
    return report


def canonical(settings: Ingest, tables: Tables) -> tuple[Coded, pl.DataFrame, dict[str, Any]]:
    """The interactions in codes, the items, and what the report says of both; their records are accounted for."""
    history, about_interactions = interactions.canonical(tables.interactions, tables.interactions_file, settings)
    items, about_items = catalogue.canonical(
        tables.items, tables.items_file, settings, interacted=history.items.alias("item_id")
    )
    accounts: dict[str, Any] = {
        "interactions": conservation.reconciled(
            tables.interactions_file, about_interactions, kept=about_interactions["interactions"]
        ),
        "items": conservation.reconciled(tables.items_file, about_items, kept=about_items["from_the_table"]),
    }
    accounts["share_set_aside"] = conservation.share_set_aside(accounts)
    accounts["max_set_aside_share"] = settings.max_set_aside_share
    report = {
        "items": about_items,
        "interactions": about_interactions,
        "conservation": accounts,
        "remarks": list(dict.fromkeys((*tables.interactions_file.remarks, *tables.items_file.remarks))),
        "unused": {table: sorted(columns) for table, columns in tables.unused.items() if columns},
    }
    return history, items, report


def _with_drops(
    history: Coded, items: pl.DataFrame, report: dict[str, Any], store: Store
) -> tuple[Coded, pl.DataFrame, dict[str, Any]]:
    """The tables after drops and deletions; the report's counts are then of these, and `drops` says what each brought.

    Where there are neither, everything stays as it is.
    """
    drops, forgotten = store.drops(), store.forgotten()
    if not drops and not forgotten.entries:
        return history, items, report
    merged = merge(history, items, drops, forgotten)
    after, known = merged.interactions, set(merged.items["item_id"])
    about_items = {
        "items": merged.items.height,
        "without_interaction": len(known) - len(after.items),
        "without_title": merged.items["title"].null_count(),
        "columns": merged.items.columns,
    }
    about = {
        "interactions": report["interactions"] | interactions.counts(after),
        "items": report["items"] | about_items,
    }
    if drops:
        about["interactions"] |= {"order": "timestamp"}
    return after, merged.items, {**report, **about, "drops": merged.counts}


def _until(history: Coded, day: str, report: dict[str, Any]) -> tuple[Coded, dict[str, Any]]:
    """The interactions up to the end of a day; those without a time stay out too. Raises `BadInput` for none."""
    end = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    kept = history.rows.filter(pl.col("timestamp") < end)
    if kept.is_empty():
        raise BadInput(f"no interaction lies before the end of {day}", where="ingest.until", mend="name a later day")
    index = pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(pl.col("user").ne_missing(pl.col("user").shift())).then(index).forward_fill()
    cut = renumbered(Coded(kept.with_columns((index - first).alias("position")), history.users, history.items))
    about = report["interactions"] | interactions.counts(cut)
    left = history.rows.height - kept.height
    return cut, {**report, "interactions": about, "until": {"day": day, "left_out": left}}


def _other_settings(settings: Ingest, store: Store | None) -> list[str]:
    """A warning for drops that were read under other settings than today's: they are not read again."""
    today = chosen(settings)
    other = [drop for drop in (store.drops() if store else []) if drop.facts.get("settings", today) != today]
    if not other:
        return []
    names = ", ".join(str(drop.facts["name"]) for drop in other[:5])
    return [f"{len(other)} drops were read with another ingest.min_rating or ingest.events than today's: {names}."]


def chosen(settings: Ingest) -> dict[str, Any]:
    """The settings that decide which interactions of a file count."""
    return {"min_rating": settings.min_rating, "events": settings.events}


def views(
    settings: Ingest, raw: Path, scratch: Path, tables: Tables, items: pl.DataFrame, store: Store | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Relations and media of the items, without a row where none are named, and what the report says of them."""
    triples, pictured = pl.DataFrame(schema=RELATIONS), pl.DataFrame(schema=MEDIA)
    report: dict[str, Any] = {}
    if settings.relations is not None:
        frame, file = relations.read(settings, raw, scratch)
        forgotten = None if store is None else store.forgotten()
        triples, about = relations.canonical(frame, file, settings, items=items["item_id"], forgotten=forgotten)
        kept = conservation.reconciled(file, about, kept=triples.height)
        report |= {"relations": about, "conservation": {"relations": kept}}
    if settings.media:
        pictured, report["media"] = media.canonical(settings, raw, tables.items, tables.items_file, items)
    return triples, pictured, report


def files_of(raw: Path, tables: Tables, settings: Ingest) -> dict[str, list[str]]:
    """Names of the raw files that were read, and of what else lies in the folder."""
    files = [part for file in (tables.interactions_file, tables.items_file) for part in file.parts or (file,)]
    read = sorted({os.path.relpath(file.shown, raw) for file in files})
    named = [path for medium in settings.media.values() for path in (medium.files, medium.vectors, medium.ids) if path]
    if settings.relations is not None:
        found = rawfiles.locate(raw, settings.relations, (), key="relations")
        named += [os.path.relpath(path, raw) for path in found]
    views = sorted(os.path.normpath(path) for path in named)
    folders = {f"{parent}/" for path in views for parent in (path, *map(str, PurePath(path).parents))}
    left = [name for name in rawfiles.others(raw, read) if name not in {*views, *folders}]
    return {"read": sorted({*read, *views}), "not_read": left}


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
        "file": "Order within a user: file order, as ingest.order says; the source has neither time nor position.",
        "unknown": "Order within a user: not known.",
    }[history["order"]]
    counted = [
        (history["steps_back_in_time"], "steps of a history go back in time against the given order"),
        (history["steps_at_the_same_time"], "steps of a history have the same time as the one before"),
        (history["rows_without_time"], "interactions have no time"),
        (history.get("rows_without_position", 0), "interactions have no position, so that none is used"),
        (history["users_with_a_position_twice"], "users have a position twice: it is no order, time is"),
        (history.get("users_in_file_order", 0), "users lack some times and are kept in file order"),
        (history["repeats"], "interactions repeat an item that the user has already"),
        (history.get("below_min_rating", 0), "interactions were rated below min_rating and left out"),
        (items["not_in_item_table"], "items are interacted with, but are not in the item table (kept, without text)"),
        (items["without_title"], "items have no title"),
        (items["equal_rows_collapsed"], "item rows stood twice and were collapsed"),
        (items["conflicting_rows_dropped"], "item rows contradicted another of the same id; the longest text stayed"),
        (items["without_interaction"], "items have no interaction"),
        (items.get("prices_unread", {}).get("count", 0), f"prices cannot be read, such as {_unread(items)}"),
    ]
    lines = [order] + [f"{count:,} {what}." for count, what in counted if count]
    lines += [f"{count:,} lists of {name} were cut short by numpy (...)." for name, count in _cut(items)]
    if len(history.get("events", {})) > 1:
        lines.append(_events(history["events"], history["set_aside"].get("other_event", 0)))
    if items["columns_left_out"]:
        lines.append(f"Item columns without text, left out: {', '.join(items['columns_left_out'])}.")
    for table, columns in report.get("unused", {}).items():
        lines.append(f"Columns of the {table} that are not used: {', '.join(columns)}.")
    if items.get("currencies"):
        lines.append(f"Prices are in several currencies, which are not converted: {', '.join(items['currencies'])}.")
    if left := report.get("files", {}).get("not_read"):
        lines.append(f"Files that are not read: {', '.join(left[:20])}{', ...' if len(left) > 20 else ''}.")
    return lines + report.get("remarks", [])


def _unread(items: dict[str, Any]) -> str:
    return ", ".join(repr(text) for text in items.get("prices_unread", {}).get("such_as", []))


def _cut(items: dict[str, Any]) -> list[tuple[str, int]]:
    return list(items.get("lists_cut", {}).items())


def _events(counts: dict[str, int], others: int) -> str:
    kinds = ", ".join(f"{kind or '(empty)'} {count:,}" for kind, count in list(counts.items())[:8])
    kept = f"{others:,} of other kinds than ingest.events are set aside" if others else "all count alike"
    return f"Kinds of interactions: {kinds}; {kept} (ingest.events chooses)."


def _write(table: pl.LazyFrame, path: Path) -> None:
    """Fixed settings and a kept order: the same table gives the same bytes."""
    try:
        table.sink_parquet(
            path, compression="zstd", compression_level=3, row_group_size=1 << 18, statistics=True, maintain_order=True
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        mend = "make room on that disk, or make the folder writable"
        raise BadInput(f"cannot write the table: {error}", where=str(path.parent), mend=mend) from error
