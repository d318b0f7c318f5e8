"""Measures of the catalogue: ids, and whether there is text to write textual IDs from."""

from __future__ import annotations

import polars as pl

from components.data.canonical import coded
from components.data.clean.itemtext import same_text, text_columns
from components.data.clean.text import is_empty
from components.data.validate.checks import ROWS_SHOWN, Measured
from components.settings import params

_LONG_TITLE = 300
_MARKUP = r"&(?:[A-Za-z]{2,8}|#\d{1,6});|</?[A-Za-z][^<>]*>"


def measure(
    items: pl.DataFrame, interactions: coded.Coded, settings: params.Validate
) -> tuple[dict[str, Measured], pl.DataFrame]:
    """Measured checks of the suite `catalogue`, and the catalogue rows that an interaction names.

    `items` is the canonical catalogue.
    """
    touched = items.filter(pl.col("item_id").is_in(interactions.items.implode()))
    blank = items.with_row_index("row").filter(pl.col("item_id").fill_null("").str.strip_chars() == "")
    repeated = items["item_id"].drop_nulls().value_counts().filter(pl.col("count") > 1).sort("item_id")
    measured = {
        "item_ids_present": _rows(blank, items, 0, "row", *_title(items)),
        "item_ids_unique": _rows(repeated, items, 0, "item_id", "count"),
        "enough_items": Measured(touched["item_id"].n_unique(), settings.min_items, at_least=True),
        **_texts(touched, settings),
    }
    return measured, touched


def without_text(items: pl.DataFrame) -> pl.DataFrame:
    """Rows of `items` in which every text column is empty or says "N/A" and the like."""
    columns = text_columns(items)
    text = items.with_columns(
        pl.col(name).list.join(" ").alias(name) for name in columns if items.schema[name] == pl.List(pl.String)
    )
    says_nothing = [is_empty(name) for name in columns]
    return items.filter(text.select(pl.all_horizontal(says_nothing)).to_series()) if columns else items


def _texts(touched: pl.DataFrame, settings: params.Validate) -> dict[str, Measured]:
    bare = without_text(touched)
    untitled = touched.filter(is_empty("title")) if "title" in touched.columns else touched
    columns = text_columns(touched)
    whole = touched.select("item_id", text=same_text(columns, touched.schema))
    markup = whole.filter(pl.col("text").str.contains(_MARKUP))
    long = touched.filter(pl.col("title").str.len_chars() > _LONG_TITLE) if "title" in touched.columns else bare.head(0)
    cut = markup.with_columns(pl.col("text").str.head(120))
    return {
        "items_have_text": _share(bare, touched, settings.max_missing_text_share, "item_id"),
        "titles_present": _share(untitled, touched, 0.0, "item_id"),
        "titles_short": _share(long, touched, 0.01, *_title(touched, "item_id")),
        "text_without_markup": _share(cut, touched, 0.01, "item_id", "text"),
    }


def _rows(broken: pl.DataFrame, all_items: pl.DataFrame, bound: float, *columns: str) -> Measured:
    """How many items break a check, of all that were looked at."""
    count = broken.height
    return Measured(count, bound, _shown(broken, *columns), count=count, of=all_items.height, unit="items")


def _share(broken: pl.DataFrame, all_items: pl.DataFrame, bound: float, *columns: str) -> Measured:
    """Which share of the items breaks a check."""
    share = broken.height / max(all_items.height, 1)
    return Measured(share, bound, _shown(broken, *columns), count=broken.height, of=all_items.height, unit="items")


def _title(items: pl.DataFrame, *others: str) -> list[str]:
    return [*others, "title"] if "title" in items.columns else [*others]


def _shown(rows: pl.DataFrame, *columns: str) -> list[dict[str, object]]:
    """The first rows as plain values; long titles are shortened, they are there to be recognised."""
    head = rows.select(columns).head(ROWS_SHOWN)
    return head.with_columns(pl.col(pl.String).str.head(120)).to_dicts()
