"""Plain tables: CSV, TSV, JSON lines or Parquet, also packed; columns named in `params.ingest.columns`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from components.data.canonical.tables import BOTH, Tables, no_file, nothing
from components.data.ingest import names, rawfiles, scanning
from components.errors import BadInput
from components.settings.params import Ingest, Quoting

ITEMS = tuple(f"{stem}{ending}" for stem in ("items", "products", "catalogue", "catalog") for ending in rawfiles.KINDS)
INTERACTIONS = tuple(
    f"{stem}{ending}"
    for stem in ("interactions", "events", "purchases", "orders", "ratings", "reviews", "clicks")
    for ending in rawfiles.KINDS
)


_INTERACTION = ("user_id", "item_id", "position", "timestamp", "rating", "event")


def parts(settings: Ingest, raw: Path, scratch: Path) -> dict[str, list[str]]:
    """Which files of a folder are `items` and which `interactions`, by their columns; absent where there are none.

    For drops, whose names change. Raises `BadInput` for a table that is neither.
    """
    found: dict[str, list[str]] = {}
    for name in rawfiles.tables_in(raw):
        if rawfiles.kind_of(name) is None:
            continue
        frame, file = scanning.table([raw / name], scratch, key="interactions", quoting=_any_quoting(settings))
        columns = frame.collect_schema().names()
        has = {
            (table, column): names.mapping_for(settings.columns, table).get(column, column) in columns
            for table in ("interactions", "items")
            for column in ("user_id", "item_id")
        }
        if has["interactions", "user_id"] and has["interactions", "item_id"]:
            found.setdefault("interactions", []).append(name)
        elif has["items", "item_id"]:
            found.setdefault("items", []).append(name)
        else:
            raise BadInput(
                f"a table without an item id; found: {', '.join(columns)}",
                where=file.shown,
                mend="name the columns as in the history (ingest.columns maps them), or take the file out of the drop",
            )
    return found


def _any_quoting(settings: Ingest) -> Quoting | None:
    """The quoting of the settings where it is one for both tables; None lets each file have the usual one."""
    given = set(settings.quoting.values())
    return given.pop() if len(given) == 1 else None


def read(settings: Ingest, raw: Path, scratch: Path, wanted: Collection[str] = BOTH) -> Tables:
    """Scan the two tables, or the one `wanted`.

    Raises `BadInput` for a missing file or column, or a mapping to a column that is nowhere.
    """
    items, items_file, in_items = nothing(), no_file(raw), set[str]()
    interactions, interactions_file, in_interactions = nothing(), no_file(raw), set[str]()
    if "items" in wanted:
        paths = rawfiles.locate(raw, settings.items, ITEMS, key="items")
        frame, items_file = scanning.table(paths, scratch, key="items", quoting=settings.quoting.get("items"))
        mapping = names.mapping_for(settings.columns, "items")
        items, in_items = names.renamed(frame, mapping, ["item_id"], items_file)
    if "interactions" in wanted:
        paths = rawfiles.locate(raw, settings.interactions, INTERACTIONS, key="interactions")
        frame, interactions_file = scanning.table(
            paths, scratch, key="interactions", quoting=settings.quoting.get("interactions")
        )
        mapping = names.mapping_for(settings.columns, "interactions")
        interactions, in_interactions = names.renamed(frame, mapping, ["user_id", "item_id"], interactions_file)
    for canonical, column in settings.columns.items():
        if set(wanted) == set(BOTH) and column not in in_items | in_interactions:
            raise BadInput(
                f"ingest.columns maps {canonical} to {column!r}, which is a column of neither table",
                where=f"{items_file.shown} and {interactions_file.shown}",
                mend="correct the name, or remove the entry",
            )
    found = interactions.collect_schema().names()
    unused = {"interactions": [name for name in found if name not in _INTERACTION]}
    return Tables(items, interactions, items_file, interactions_file, unused=unused)
