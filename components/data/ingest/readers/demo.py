"""The demo shop as a source like any other: `shop.yaml` -> raw-looking tables, always the same ones.

python -m components ingest        # with `ingest: {format: demo, path: data/demo}` in params.yaml

Where `ingest.media` names pictures.zip or tones.zip, it draws them beside shop.yaml, and the shop sells music boxes.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from components.data.canonical.tables import RawFile, Tables
from components.data.demo import boxes, customers, dirt, drawing
from components.data.demo.shop import load
from components.data.ingest import rawfiles
from components.errors import BadInput
from components.settings.params import Ingest


def recognised(names: Collection[str]) -> str | None:
    """Why the folder is one of this format, by the names of its files; None where it is not."""
    return "shop.yaml describes a demo shop." if "shop.yaml" in names else None


def read(settings: Ingest, raw: Path, scratch: Path) -> Tables:
    """Generate the shop that `shop.yaml` in `raw` describes. Raises `BadInput` if it does not describe one."""
    path = rawfiles.one(rawfiles.locate(raw, settings.items, ("shop.yaml",), key="items"), "items")
    shop = load(path)
    purchases, rows = customers.purchases(shop), dirt.rows(shop)
    facts = {"products": len(shop.products), "seed": shop.settings["seed"]}
    drawn = [medium.files for medium in settings.media.values() if medium.files in (drawing.PICTURES, drawing.TONES)]
    if drawn and "music_boxes" not in shop.settings:
        mend = "take ingest.media out, or take music_boxes from the shop.yaml of the repository"
        raise BadInput("there are no music_boxes, of which ingest.media wants pictures", where=str(path), mend=mend)
    if drawn:
        theirs, more = boxes.sold(shop, purchases)
        purchases = sorted([*purchases, *more], key=customers.in_time)
        rows += [box.row(shop.settings["music_boxes"]) for box in theirs]
        facts["music_boxes"] = len(theirs)
        for name in drawn:
            drawing.draw(shop, theirs, path.parent / name)
    interactions = pl.DataFrame(
        {
            "user_id": [purchase.user_id for purchase in purchases],
            "item_id": [purchase.item_id for purchase in purchases],
            "timestamp": [purchase.timestamp for purchase in purchases],
        }
    )
    file = RawFile(shown=str(path), path=path, kind="lines")
    schema: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(
        ("item_id", "title", "brand", "description", "price"), pl.String
    )
    items = pl.DataFrame(rows, schema=schema | {"categories": pl.List(pl.List(pl.String))})
    return Tables(items.lazy(), interactions.lazy(), file, file, facts)
