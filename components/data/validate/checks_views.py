"""Measures of relations and media; nothing where there are none."""

from __future__ import annotations

from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.canonical.views import MEDIA, RELATIONS, is_behaviour
from components.data.validate.checks import ROWS_SHOWN, Measured
from components.settings import params
from components.storage.layout import Layout

_OF_ITEMS = 0.5
"""A relation of which so many tails are items is one between items."""


def measure(layout: Layout, touched: pl.Series, items: pl.Series, settings: params.Validate) -> dict[str, Measured]:
    """Measured checks of the suite `views`. `touched`: ids that an interaction names, `items`: of the catalogue."""
    found: dict[str, Measured] = {}
    if layout.relations.is_file():
        relations = coded.collect(coded.scan(layout.relations, RELATIONS), layout.relations)
        found |= _of_relations(relations, touched, items, settings) if relations.height else {}
    if layout.media.is_file():
        media = coded.collect(coded.scan(layout.media, MEDIA), layout.media)
        found |= _of_media(media, touched, settings) if media.height else {}
    return found


def _of_relations(
    relations: pl.DataFrame, touched: pl.Series, items: pl.Series, settings: params.Validate
) -> dict[str, Measured]:
    counted = relations["relation"].value_counts(sort=True)
    told = counted.filter(pl.col("relation").map_elements(is_behaviour, return_dtype=pl.Boolean))
    behaviour = int(told["count"].sum())
    bare = touched.unique().sort().to_frame("item_id").join(relations, left_on="item_id", right_on="head", how="anti")
    between = relations.with_columns(known=pl.col("tail").is_in(items.implode()))
    between = between.filter(pl.col("known").mean().over("relation") >= _OF_ITEMS)
    outside = between.filter(~pl.col("known"))
    having = relations.group_by("relation").agg(items=pl.col("head").n_unique())
    hubs = relations.group_by("relation", "tail").agg(of=pl.col("head").n_unique()).join(having, on="relation")
    hubs = hubs.with_columns(share=pl.col("of") / pl.col("items")).sort(
        "share", "relation", "tail", descending=[True, False, False]
    )
    wide = hubs.filter(pl.col("share") > settings.max_hub_share)
    largest = hubs.row(0, named=True)
    kinds = ", ".join(f"{name} {count:,}" for name, count in counted.head(8).iter_rows())
    return {
        "relations_say_nothing_of_others": Measured(
            behaviour,
            0,
            _rows(told),
            count=behaviour,
            of=relations.height,
            unit="relations",
            said=kinds,
        ),
        "relations_of_most_items": _share(bare, touched.n_unique(), settings.max_missing_view_share, "items"),
        "tails_in_catalogue": _share(outside.select("relation", "tail"), between.height, 0.01, "tails that are items"),
        "no_hub_of_most_items": Measured(
            largest["share"],
            settings.max_hub_share,
            _rows(wide.select("relation", "tail", "of")),
            said=f"{largest['relation']} {largest['tail']!r}: {largest['of']:,} of {largest['items']:,} items",
        ),
    }


def _of_media(media: pl.DataFrame, touched: pl.Series, settings: params.Validate) -> dict[str, Measured]:
    files = media.filter(pl.col("file").is_not_null())
    broken = files.filter(pl.col("problem").is_not_null()).select("view", "item_id", "file", "bytes", "problem")
    sound = media.filter(pl.col("problem").is_null() & pl.col("item_id").is_in(touched.implode()))
    total = touched.n_unique()
    views = media.select("view").unique().sort("view")
    has = sound.group_by("view").agg(items=pl.col("item_id").n_unique())
    lacking = views.join(has, on="view", how="left").with_columns(
        missing=1 - pl.col("items").fill_null(0) / max(total, 1)
    )
    worst = lacking.sort("missing", descending=True).row(0, named=True)
    few = lacking.filter(pl.col("missing") > settings.max_missing_view_share)
    same = files.filter(pl.col("digest").is_not_null() & pl.col("digest").is_duplicated())
    again = same.filter(~pl.struct("view", "digest").is_first_distinct()).select("view", "item_id", "file", "digest")
    size = int(files["bytes"].fill_null(0).sum())
    measured = {
        "media_of_most_items": Measured(
            worst["missing"], settings.max_missing_view_share, _rows(few), said=f"{worst['view']} is missing most often"
        )
    }
    if files.height:
        measured["media_readable"] = _share(broken, files.height, 0.0, "files", said=f"{size / 2**20:,.1f} MiB in all")
        measured["media_differ"] = _share(again, files.height, 0.05, "files")
    return measured


def _share(broken: pl.DataFrame, total: int, bound: float, unit: str, said: str | None = None) -> Measured:
    share = broken.height / max(total, 1)
    return Measured(share, bound, _rows(broken), count=broken.height, of=total, unit=unit, said=said)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.head(ROWS_SHOWN).to_dicts()
