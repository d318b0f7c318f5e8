"""RecBole atomic files: `NAME.inter` and `NAME.item`, tab-separated, with a typed header (`item_id:token`).

https://recbole.io/docs/user_guide/data/atomic_files.html: `token` one category, `token_seq` several (between spaces
unless the data set says otherwise: `params.ingest.list_separator`), `float` a number, `float_seq` several.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import BOTH, LIST_COLUMNS, RawFile, Tables, no_file, nothing
from components.data.ingest import names, rawfiles, scanning
from components.errors import BadInput
from components.settings.params import Ingest

TYPES = ("token", "token_seq", "float", "float_seq")
_ITEM = ("item_id", "title", "brand", "categories", "description", "price", "attributes", "image_url")
_INTERACTION = ("user_id", "item_id", "timestamp", "rating", "event")


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    return "A .inter file is a RecBole atomic file." if any(name.endswith(".inter") for name in names) else None


def parts(settings: Ingest, raw: Path, scratch: Path) -> dict[str, list[str]]:
    """Which files of a folder are `items` and which `interactions`, by their endings; absent where there are none."""
    found: dict[str, list[str]] = {}
    for name in rawfiles.names_in(raw):
        plain = rawfiles.plain_name(name)
        if plain.endswith((".inter", ".item")):
            found.setdefault("interactions" if plain.endswith(".inter") else "items", []).append(name)
    return found


def read(settings: Ingest, raw: Path, scratch: Path, wanted: Collection[str] = BOTH) -> Tables:
    """Scan the two atomic files, or the one `wanted`. Raises `BadInput` for a header without types or without ids."""
    items, items_file = nothing(), no_file(raw)
    interactions, interactions_file = nothing(), no_file(raw)
    unused: dict[str, list[str]] = {}
    if "interactions" in wanted:
        path = rawfiles.one(
            rawfiles.locate(raw, settings.interactions, (".inter",), key="interactions"), "interactions"
        )
        interactions, interactions_file, _ = _named(
            path, scratch, settings, "interactions", _INTERACTION, ("user_id", "item_id")
        )
        unused["interactions"] = [name for name in interactions.collect_schema() if name not in _INTERACTION]
    if "items" in wanted:
        path = rawfiles.one(rawfiles.locate(raw, settings.items, (".item",), key="items"), "items")
        items, items_file, types = _named(path, scratch, settings, "items", _ITEM, ("item_id",))
        separator = settings.list_separator or " "
        items = items.with_columns(
            pl.col(name).str.split(separator) for name in LIST_COLUMNS if types.get(name) == "token_seq"
        )
    return Tables(items, interactions, items_file, interactions_file, unused=unused)


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
