"""The demo catalogue as a source like any other: `data/demo/shop.yaml` -> raw-looking tables, always the same ones.

    python -m components ingest        # with `ingest: {format: demo, path: data/demo}` in params.yaml

Because the shop says why its customers buy, the right answer to "what comes next?" is known: `right_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from components.data.canonical.tables import RawFile, Tables
from components.data.demo import customers as demo_customers
from components.data.demo import dirt as demo_dirt
from components.data.demo.shop import Shop, load
from components.data.ingest import rawfiles
from components.settings.params import Ingest


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Generate the shop that `shop.yaml` in `raw` describes. Raises `BadInput` if it does not describe one."""
    path = rawfiles.one(rawfiles.locate(raw, settings.items, ("shop.yaml",), key="items"), "items")
    shop = load(path)
    purchases = demo_customers.purchases(shop)
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
    items = pl.DataFrame(demo_dirt.rows(shop), schema=schema | {"categories": pl.List(pl.List(pl.String))})
    return Tables(items.lazy(), interactions.lazy(), file, file, facts)


def right_answers(shop: Shop, history: Sequence[str]) -> list[str]:
    """Item ids that follow `history` (item ids, oldest first) for a reason, the most probable first; ties by id.

    A product that stands in the catalogue twice appears under its smaller id, the one that `clean` merges it into.
    """
    bought = [shop.by_id[item_id] for item_id in history]
    ranked = sorted(demo_customers.next_products(shop, bought), key=lambda pair: (-pair[1], min(pair[0].ids)))
    return [min(product.ids) for product, _ in ranked]
