"""Raw items -> the canonical table: one row an item, lists flat, prices as numbers, further text columns kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from components.data.canonical.tables import ITEM_COLUMNS, LIST_COLUMNS, RawFile
from components.data.ingest import ids, scanning, values
from components.settings.params import Ingest

_NO_PRICE = (*ids.MISSING, "n/a", "na", "-")
_LOOKED_AT = 1000
"""Values of a column that tell whether it holds records."""


def canonical(
    raw: pl.LazyFrame, file: RawFile, settings: Ingest, *, interacted: pl.Series
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The item table sorted by item_id, and facts for the report.

    Equal rows collapse; of rows that differ under one id the one with most text stays (the first of equals); items of
    `interacted` (distinct ids) that the table lacks are added with null text. `facts["set_aside"]`: reason -> rows that
    were read and are not among them. Raises `BadInput` for ids that are missing or damaged.
    """
    scanning.require_plain(raw, ["item_id"], file)
    frame = scanning.collect(raw, file)
    facts: dict[str, Any] = {"rows": frame.height, "set_aside": {}, "damaged_rows": []}
    frame = frame.with_columns(ids.checked(frame["item_id"], file))
    frame = _with_ids(frame, file, settings.max_set_aside_share, facts)
    ids.refuse_other_writing(interacted.alias("item_id"), frame["item_id"].unique(), file.shown)
    typed = {name: _column(frame[name], settings.list_separator, facts) for name in frame.columns}
    kept = {name: column for name, column in typed.items() if column is not None}
    kept.setdefault("title", pl.Series("title", [None] * frame.height, dtype=pl.String))
    table, collapsed = _one_row_each(pl.DataFrame({name: kept[name] for name in sorted(kept, key=_place)}))
    for reason, count in collapsed.items():
        if count:
            facts["set_aside"][{"equal_rows_collapsed": "equal", "conflicting_rows_dropped": "conflicting"}[reason]] = (
                count
            )
    absent = interacted.to_frame("item_id").join(table, on="item_id", how="anti")
    facts |= collapsed | {
        "items": table.height + absent.height,
        "from_the_table": table.height,
        "not_in_item_table": absent.height,
        "without_interaction": table.join(interacted.to_frame("item_id"), on="item_id", how="anti").height,
        "columns": table.columns,
        "columns_left_out": sorted(typed.keys() - kept.keys()),
        "without_title": table["title"].null_count() + absent.height,
    }
    return pl.concat([table, absent], how="diagonal").sort("item_id"), facts


def _with_ids(frame: pl.DataFrame, file: RawFile, most: float, facts: dict[str, Any]) -> pl.DataFrame:
    """Rows with an id; few others are set aside. Raises `BadInput` for more than the share `most`."""
    gone = frame["item_id"].is_null().arg_true()
    if not len(gone):
        return frame
    if len(gone) > most * frame.height:
        raise ids.missing(gone.to_list(), "item_id", file)
    facts["set_aside"]["missing_id"] = len(gone)
    facts["damaged_rows"] = [file.row(row) for row in gone.head(10).to_list()]
    return frame.drop_nulls("item_id")


def _place(name: str) -> tuple[int, str]:
    return (ITEM_COLUMNS.index(name) if name in ITEM_COLUMNS else len(ITEM_COLUMNS), name)


def _column(column: pl.Series, separator: str | None, facts: dict[str, Any]) -> pl.Series | None:
    """A column of the kind its name asks for; None for a further column that is no text (a number, a record)."""
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.name == "item_id":
        return column
    if column.name in LIST_COLUMNS:
        _count_cut(column, facts)
        return _mapped(column, lambda value: values.flat(value, separator), pl.List(pl.String))
    if column.name == "price":
        return None if column.dtype.is_nested() else _prices(column, facts)
    if column.dtype == pl.String and column.name in ("title", "brand", "image_url"):
        return _mapped(column, lambda value: value if value and not value.isspace() else None, pl.String)
    if column.dtype == pl.String or isinstance(column.dtype, pl.List):
        if column.name not in ITEM_COLUMNS and _holds_records(column):
            return None
        _count_cut(column, facts)
        text = _mapped(column, values.joined, pl.String)
        return None if column.name not in ITEM_COLUMNS and text.null_count() == len(text) else text
    if column.name in ITEM_COLUMNS and (column.dtype.is_numeric() or column.dtype.is_temporal()):
        return column.cast(pl.String)
    return None


def _mapped(column: pl.Series, function: Callable[[Any], Any], dtype: Any) -> pl.Series:
    return pl.Series(column.name, [function(value) for value in column.to_list()], dtype=dtype)


def _holds_records(column: pl.Series) -> bool:
    """Whether most of what stands there are records ({"Monday": "7:0-18:0"}): flags and figures, no text to read."""
    if isinstance(column.dtype, pl.List):
        return False
    some = column.drop_nulls().head(_LOOKED_AT).to_list()
    filled = [text for text in some if text.strip()]
    return bool(filled) and sum(values.as_record(text) is not None for text in filled) * 2 > len(filled)


def _count_cut(column: pl.Series, facts: dict[str, Any]) -> None:
    if column.dtype != pl.String:
        return
    dotted = column.filter(column.str.contains(r"\.\.\.").fill_null(False))
    cut = sum(values.is_cut(text) for text in dotted.to_list())
    if cut:
        facts.setdefault("lists_cut", {})[column.name] = cut


def _prices(column: pl.Series, facts: dict[str, Any]) -> pl.Series:
    """Prices as numbers; what cannot be read is null, and counted."""
    if column.dtype.is_numeric():
        return column.cast(pl.Float64)
    text = column.cast(pl.String).str.strip_chars()
    different = text.drop_nulls().unique().to_list()
    read = values.price_reader(different)
    known = {value: read(value) for value in different}
    if different:
        prices = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Float64)
    else:
        prices = text.cast(pl.Float64, strict=False)
    unread = text.filter(prices.is_null() & ~text.str.to_lowercase().is_in(_NO_PRICE))
    if len(unread):
        facts["prices_unread"] = {
            "count": len(unread),
            "such_as": unread.unique().sort().str.head(40).head(3).to_list(),
        }
    signs = set().union(*(values.currencies(value) for value in different)) if different else set()
    if len(signs) > 1:
        facts["currencies"] = sorted(signs)
    return prices.alias("price")


def _one_row_each(table: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    lengths = [pl.col(name).str.len_chars().fill_null(0) for name, dtype in table.schema.items() if dtype == pl.String]
    lengths += [
        pl.col(name).list.join("").str.len_chars().fill_null(0)
        for name, dtype in table.schema.items()
        if isinstance(dtype, pl.List)
    ]
    distinct = table.unique(maintain_order=True)
    longest_first = distinct.sort(pl.sum_horizontal(lengths), descending=True, maintain_order=True)
    single = longest_first.unique("item_id", keep="first")
    return single, {
        "equal_rows_collapsed": table.height - distinct.height,
        "conflicting_rows_dropped": distinct.height - single.height,
    }
