"""Canonical tables -> the whole catalogue and everybody's history, nothing held out: for a shop that opens.

    shop = whole(params.clean, params.seed, layout)
    shop.items                                             # item_id, text and the text columns, in the drawn order

As `clean` makes them, with the words of views where these were made, without k-core and split: what nobody took is in
the catalogue too.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from components.data.canonical import coded
from components.data.clean import itemtext, numbering, ties, viewwords
from components.settings import params
from components.storage.layout import Layout


@dataclass(frozen=True)
class Whole:
    """Items in the order drawn by seed and text; histories sorted by user id."""

    items: pl.DataFrame
    histories: pl.DataFrame
    """user_id, history (item ids, oldest first, as the canonical table has them) and timestamps."""
    aliases: dict[str, str]
    """Item id that was merged away -> the id that stands for it."""
    left_out: int
    """Interactions without an id, or with an item that the catalogue lacks."""


def whole(settings: params.Clean, seed: int, layout: Layout) -> Whole:
    """Read, scrub and order. Raises `BadInput` for tables that are missing, or where no item has any text."""
    columns: dict[str, coded.Kind] = {"item_id": pl.String}
    catalogue = coded.collect(coded.scan(layout.items, columns), layout.items).drop_nulls("item_id")
    catalogue = catalogue.unique("item_id", keep="first", maintain_order=True).sort("item_id")
    catalogue, spoken = viewwords.added(catalogue, layout.view_words)
    items, _ = itemtext.scrub_columns(catalogue, settings.boilerplate_share)
    texts, _ = itemtext.with_text(items, settings, also=spoken)
    hashes = numbering.hashes(items, seed)
    merged = itemtext.aliases(items if settings.merge_duplicates else items.clear())
    kept = texts.join(merged, on="item_id", how="anti", maintain_order="left")
    numbered = kept.join(hashes, on="item_id", how="left", maintain_order="left").sort("by_text", "by_id")

    interactions = coded.read(layout.interactions)
    rows = interactions.rows.drop_nulls(["user", "item"])
    known = interactions.items.is_in(items["item_id"].implode())
    rows = rows.filter(pl.lit(known).gather("item"))
    if settings.ties != "file":
        rows = ties.Draw.of(interactions.users, interactions.items, hashes, seed).order(rows)
    histories = rows.select(
        user_id=pl.lit(interactions.users).gather("user"),
        history=pl.lit(interactions.items).gather("item"),
        timestamps="timestamp",
    )
    return Whole(
        numbered.drop("by_text", "by_id"),
        histories.group_by("user_id", maintain_order=True).agg("history", "timestamps"),
        dict(merged.iter_rows()),
        interactions.rows.height - rows.height,
    )
