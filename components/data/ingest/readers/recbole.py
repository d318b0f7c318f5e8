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
_INTERACTION = ("user_id", "item_id", "timestamp", "rating")


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    return "A .inter file is a RecBole atomic file." if any(name.endswith(".inter") for name in names) else None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Scan the two atomic files. Raises `BadInput` for a header without types or without the ids."""
    interactions_path = rawfiles.locate(raw, settings.interactions, (".inter",), key="interactions")
    items_path = rawfiles.locate(raw, settings.items, (".item",), key="items")
    interactions_file = rawfiles.prepare(interactions_path, scratch, kind="tsv")
    items_file = rawfiles.prepare(items_path, scratch, kind="tsv")
    interactions, _ = _named(interactions_file, settings, "interactions", _INTERACTION, ("user_id", "item_id"))
    items, types = _named(items_file, settings, "items", _ITEM, ("item_id",))
    separator = settings.list_separator or " "
    sequences = [pl.col(name).str.split(separator) for name in LIST_COLUMNS if types.get(name) == "token_seq"]
    return Tables(items.with_columns(sequences), interactions, items_file, interactions_file)


def _named(
    file: RawFile, settings: Ingest, table: str, wanted: tuple[str, ...], required: tuple[str, ...]
) -> tuple[pl.LazyFrame, dict[str, str]]:
    """The frame under canonical names, and the RecBole type of each of its columns."""
    frame = scanning.scan(file)
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
    return renamed, {canonical.get(field, field): kind for field, kind in types.items()}
