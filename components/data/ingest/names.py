"""Names that columns go by in the wild, so that `idiom init` can map them and an error can point at the nearest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from components.data.canonical.tables import RawFile
from components.errors import BadInput

ALIASES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("user_id", "userid", "user", "uid", "reviewerid", "reviewer_id", "customer_id", "customerid", "customer"),
        *("visitorid", "visitor_id", "member_id", "account_id", "client_id", "session_id", "buyer_id", "u"),
    ),
    "item_id": (
        *("item_id", "itemid", "item", "iid", "parent_asin", "asin", "product_id", "productid", "product", "sku"),
        *("article_id", "articleid", "movie_id", "movieid", "book_id", "track_id", "business_id", "goods_id", "i"),
        *("video_id", "song_id", "artist_id", "game_id", "app_id", "news_id", "recipe_id", "listing_id", "poi_id"),
        *("restaurant_id", "venue_id", "offer_id", "isbn", "ean", "gtin", "upc", "stock_code", "stockcode"),
    ),
    "position": ("position", "pos", "order", "step", "seq", "sequence"),
    "timestamp": (
        *("timestamp", "time", "ts", "unixreviewtime", "unix_time", "datetime", "date", "event_time", "created_at"),
        *("purchase_date", "order_date", "t_dat", "t"),
    ),
    "event": (
        *("event", "event_type", "event_name", "action", "action_type", "behavior", "behaviour", "behavior_type"),
        *("behaviour_type", "interaction_type", "activity", "activity_type", "kind", "verb", "type"),
    ),
    "rating": ("rating", "overall", "stars", "score", "rate"),
    "title": ("title", "name", "product_title", "item_title", "movie_title", "product_name", "prod_name", "item_name"),
    "brand": ("brand", "store", "manufacturer", "vendor", "brand_name"),
    "categories": ("categories", "category", "genres", "genre", "class", "category_path", "product_type", "main_cat"),
    "description": ("description", "desc", "detail_desc", "product_description", "summary", "body"),
    "price": ("price", "unit_price", "cost"),
    "attributes": ("attributes", "features", "feature", "tags", "properties"),
    "image_labels": ("image_labels", "labels"),
    "image_url": ("image_url", "imurl", "imageurl", "image", "picture", "img"),
}


def folded(name: str) -> str:
    """Column name without case, type suffix (`item_id:token`) and decoration: `User ID` -> `user_id`."""
    return re.sub(r"[^a-z0-9]+", "_", name.split(":")[0].strip().lower()).strip("_")


def match(names: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """Canonical name -> raw name for each of `wanted` that some raw column goes by; each raw column is used once."""
    by_folded = {folded(name): name for name in reversed(list(names))}
    found: dict[str, str] = {}
    for canonical in wanted:
        for alias in ALIASES[canonical]:
            if alias in by_folded and by_folded[alias] not in found.values():
                found[canonical] = by_folded[alias]
                break
    return found


def mapping_for(columns: Mapping[str, str], table: str) -> dict[str, str]:
    """The part of `params.ingest.columns` that concerns one table: `items.item_id: id` beats `item_id: pid` there."""
    plain = {name: raw for name, raw in columns.items() if "." not in name}
    own = {name.removeprefix(f"{table}."): raw for name, raw in columns.items() if name.startswith(f"{table}.")}
    return plain | own


def renamed(
    frame: pl.LazyFrame, columns: Mapping[str, str], required: Sequence[str], file: RawFile
) -> tuple[pl.LazyFrame, set[str]]:
    """`frame` under canonical names by `columns` (canonical -> raw), and the raw names that were mapped.

    A raw column that already bears a canonical name to which another one is mapped is dropped. Raises `BadInput` with
    the columns found and the nearest one, if a required one is missing.
    """
    names = frame.collect_schema().names()
    for canonical in required:
        raw = columns.get(canonical, canonical)
        if raw not in names:
            raise BadInput(
                f"column {raw!r} (for {canonical}) is missing; found: {', '.join(names)}",
                where=file.shown,
                mend=f"set ingest.columns: {{{canonical}: {_nearest(raw, canonical, names)}}} in params.yaml",
            )
    chosen: dict[str, str] = {}
    for canonical, raw in columns.items():
        if raw in chosen:
            raise BadInput(
                f"ingest.columns maps both {chosen[raw]} and {canonical} to {raw!r}",
                where=file.shown,
                mend="give a column one meaning; two tables may differ: items.item_id, interactions.item_id",
            )
        if raw in names:
            chosen[raw] = canonical
    shadowed = [name for name in names if name in chosen.values() and name not in chosen]
    return frame.drop(shadowed).rename(chosen), set(chosen)


def _nearest(raw: str, canonical: str, names: Sequence[str]) -> str:
    known = match(names, [canonical]) if canonical in ALIASES else {}
    near = difflib.get_close_matches(raw, names, n=1, cutoff=0.0)
    return known.get(canonical) or (near[0] if near else "THE COLUMN")
