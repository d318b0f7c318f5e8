"""RecBole atomic files: `NAME.inter` and `NAME.item`, tab-separated, with a typed header (`item_id:token`).

https://recbole.io/docs/user_guide/data/atomic_files.html: `token` one category, `token_seq` several (between spaces
unless the data set says otherwise: `params.ingest.list_separator`), `float` a number, `float_seq` several.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import LIST_COLUMNS, RawFile, Tables
from components.data.ingest import names, rawfiles, scanning
from components.errors import BadInput
from components.settings.params import Ingest

TYPES = ("token", "token_seq", "float", "float_seq")
_ITEM = ("item_id", "title", "brand", "categories", "description", "price", "attributes", "image_url")
_INTERACTION = ("user_id", "item_id", "timestamp", "rating", "event")


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    return "A .inter file is a RecBole atomic file." if any(name.endswith(".inter") for name in names) else None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Scan the two atomic files. Raises `BadInput` for a header without types or without the ids."""
    interactions_path = rawfiles.one(
        rawfiles.locate(raw, settings.interactions, (".inter",), key="interactions"), "interactions"
    )
    items_path = rawfiles.one(rawfiles.locate(raw, settings.items, (".item",), key="items"), "items")
    interactions, interactions_file, _ = _named(
        interactions_path, scratch, settings, "interactions", _INTERACTION, ("user_id", "item_id")
    )
    items, items_file, types = _named(items_path, scratch, settings, "items", _ITEM, ("item_id",))
    separator = settings.list_separator or " "
    sequences = [pl.col(name).str.split(separator) for name in LIST_COLUMNS if types.get(name) == "token_seq"]
    unused = {"interactions": [name for name in interactions.collect_schema() if name not in _INTERACTION]}
    return Tables(items.with_columns(sequences), interactions, items_file, interactions_file, unused=unused)


def _named(
    path: Path, scratch: Path, settings: Ingest, table: str, wanted: tuple[str, ...], required: tuple[str, ...]
) -> tuple[pl.LazyFrame, RawFile, dict[str, str]]:
    """The frame under canonical names, its file, and the RecBole type of each of its columns."""
    quoting = settings.quoting.get(table)
    frame, file = scanning.table([path], scratch, key=table, kind="tsv", quoting=quoting)
    header = frame.collect_schema().names()
    types = {}
    for column in header:
        field, _, kind = column.partition(":")
        if kind not in TYPES:
            raise BadInput(
                f"column {column!r} has no type; a header of an atomic file is name:type, tab-separated",
                where=file.shown,
                mend=f"types are {', '.join(TYPES)}; for a plain table use format table",
            )
        types[field] = kind
    frame = frame.rename({column: column.partition(":")[0] for column in header})
    columns = names.match(types, wanted) | names.mapping_for(settings.columns, table)
    renamed, _ = names.renamed(frame, columns, required, file)
    canonical = {raw: name for name, raw in columns.items()}
    return renamed, file, {canonical.get(field, field): kind for field, kind in types.items()}
