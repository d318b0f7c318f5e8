"""The demo shop as a source like any other: `shop.yaml` -> raw-looking tables, always the same ones.

python -m components ingest        # with `ingest: {format: demo, path: data/demo}` in params.yaml
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import RawFile, Tables
from components.data.demo import customers, dirt
from components.data.demo.shop import load
from components.data.ingest import rawfiles
from components.settings.params import Ingest


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    return "shop.yaml describes a demo shop." if "shop.yaml" in names else None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Generate the shop that `shop.yaml` in `raw` describes. Raises `BadInput` if it does not describe one."""
    path = rawfiles.one(rawfiles.locate(raw, settings.items, ("shop.yaml",), key="items"), "items")
    shop = load(path)
    purchases = customers.purchases(shop)
    interactions = pl.DataFrame(
        {
            "user_id": [purchase.user_id for purchase in purchases],
            "item_id": [purchase.item_id for purchase in purchases],
            "timestamp": [purchase.timestamp for purchase in purchases],
        }
    )
    file = RawFile(shown=str(path), path=path, kind="lines")
    facts = {"products": len(shop.products), "seed": shop.settings["seed"]}
    schema: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(
        ("item_id", "title", "brand", "description", "price"), pl.String
    )
    items = pl.DataFrame(dirt.rows(shop), schema=schema | {"categories": pl.List(pl.List(pl.String))})
    return Tables(items.lazy(), interactions.lazy(), file, file, facts)
