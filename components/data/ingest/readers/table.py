"""Plain tables: CSV, TSV, JSON lines or Parquet, also packed; columns named in `params.ingest.columns`."""

from __future__ import annotations

from pathlib import Path

from components.data.canonical.tables import Tables
from components.data.ingest import names, rawfiles, scanning
from components.errors import BadInput
from components.settings.params import Ingest

ITEMS = tuple(f"{stem}{ending}" for stem in ("items", "products", "catalogue", "catalog") for ending in rawfiles.KINDS)
INTERACTIONS = tuple(
    f"{stem}{ending}"
    for stem in ("interactions", "events", "purchases", "orders", "ratings", "reviews", "clicks")
    for ending in rawfiles.KINDS
)


_INTERACTION = ("user_id", "item_id", "position", "timestamp", "rating", "event")


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Scan the two tables. Raises `BadInput` for a missing file or column, or a mapping to a column that is nowhere."""
    items_paths = rawfiles.locate(raw, settings.items, ITEMS, key="items")
    interactions_paths = rawfiles.locate(raw, settings.interactions, INTERACTIONS, key="interactions")
    items_frame, items_file = scanning.table(items_paths, scratch, key="items", quoting=settings.quoting.get("items"))
    interactions_frame, interactions_file = scanning.table(
        interactions_paths, scratch, key="interactions", quoting=settings.quoting.get("interactions")
    )
    for_items = names.mapping_for(settings.columns, "items")
    for_interactions = names.mapping_for(settings.columns, "interactions")
    items, in_items = names.renamed(items_frame, for_items, ["item_id"], items_file)
    interactions, in_interactions = names.renamed(
        interactions_frame, for_interactions, ["user_id", "item_id"], interactions_file
    )
    for canonical, column in settings.columns.items():
        if column not in in_items | in_interactions:
            raise BadInput(
                f"ingest.columns maps {canonical} to {column!r}, which is a column of neither table",
                where=f"{items_file.shown} and {interactions_file.shown}",
                mend="correct the name, or remove the entry",
            )
    found = interactions.collect_schema().names()
    unused = {"interactions": [name for name in found if name not in _INTERACTION]}
    return Tables(items, interactions, items_file, interactions_file, unused=unused)
