"""Raw items -> the canonical table: one row an item, lists flat, prices as numbers, further text columns kept."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from components.data.canonical.tables import ITEM_COLUMNS, LIST_COLUMNS, RawFile
from components.data.ingest import ids, scanning

# "$1,299.00", "from 14.99", "12.99 EUR"; a price cell that begins with other text (2018 metadata hold CSS) is no price.
_PRICE = r"^\s*(?:from\s+)?[^\d\s.{]{0,4}\s?(\d[\d,]*(?:\.\d+)?)"
_DECIMAL_COMMA = r",(\d{2})(\D*)$"


def canonical(
    raw: pl.LazyFrame, file: RawFile, *, interacted: pl.Series, list_separator: str | None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The item table sorted by item_id, and facts for the report.

    Equal rows collapse; of rows that differ under one id the one with most text stays (the first of equals); items of
    `interacted` (distinct ids) that the table lacks are added with null text. Raises `BadInput` for a missing id.
    """
    scanning.require_plain(raw, ["item_id"], file)
    frame = scanning.collect(raw, file)
    frame = frame.with_columns(ids.checked(frame["item_id"], file))
    typed = {name: _column(frame[name], list_separator) for name in frame.columns}
    kept = {name: column for name, column in typed.items() if column is not None}
    kept.setdefault("title", pl.Series("title", [None] * frame.height, dtype=pl.String))
    table, facts = _one_row_each(pl.DataFrame({name: kept[name] for name in sorted(kept, key=_place)}))
    absent = interacted.to_frame("item_id").join(table, on="item_id", how="anti")
    facts |= {
        "rows": frame.height,
        "items": table.height + absent.height,
        "not_in_item_table": absent.height,
        "without_interaction": table.join(interacted.to_frame("item_id"), on="item_id", how="anti").height,
        "columns": table.columns,
        "columns_left_out": sorted(typed.keys() - kept.keys()),
        "without_title": table["title"].null_count() + absent.height,
    }
    return pl.concat([table, absent], how="diagonal").sort("item_id"), facts


def _place(name: str) -> tuple[int, str]:
    return (ITEM_COLUMNS.index(name) if name in ITEM_COLUMNS else len(ITEM_COLUMNS), name)


def _column(values: pl.Series, separator: str | None) -> pl.Series | None:
    """A column of the kind its name asks for; None for a further column that is not text (a flag, a number)."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.name == "item_id":
        return values
    if values.name in LIST_COLUMNS:
        return _mapped(values, lambda value: flat(value, separator), pl.List(pl.String))
    if values.name == "price":
        if values.dtype.is_nested():
            return None
        text = values.cast(pl.String).str.replace(_DECIMAL_COMMA, ".$1$2").str.extract(_PRICE).str.replace_all(",", "")
        return text.cast(pl.Float64, strict=False).alias("price")
    if values.dtype == pl.String and values.name in ("title", "brand", "image_url"):
        return _mapped(values, lambda value: value if value and not value.isspace() else None, pl.String)
    if values.dtype == pl.String or isinstance(values.dtype, pl.List):
        text = _mapped(values, _joined, pl.String)
        return None if values.name not in ITEM_COLUMNS and text.null_count() == len(text) else text
    if values.name in ITEM_COLUMNS and (values.dtype.is_numeric() or values.dtype.is_temporal()):
        return values.cast(pl.String)
    return None


def _mapped(values: pl.Series, function: Any, dtype: Any) -> pl.Series:
    return pl.Series(values.name, [function(value) for value in values.to_list()], dtype=dtype)


def flat(value: Any, separator: str | None) -> list[str]:
    """The texts of a (nested) list in order, each once; text that holds a list is read, other text is split."""
    return list(dict.fromkeys(text for text in (part.strip() for part in _texts(value, separator)) if text))


def _texts(value: Any, separator: str | None) -> Iterator[str]:
    if isinstance(value, str):
        listed = _as_list(value)
        if listed is not None:
            yield from _texts(listed, None)
        else:
            yield from value.split(separator) if separator else [value]
    elif isinstance(value, Iterable) and not isinstance(value, dict):
        for part in value:
            yield from _texts(part, None)
    elif value is not None and not isinstance(value, dict):
        yield str(value)


def _as_list(text: str) -> list[Any] | None:
    """The list that `text` spells, as JSON or as Python (`['A', 'B']`, what pandas writes into a CSV)."""
    if not text.startswith("["):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return value
    return None


def _joined(value: Any) -> str | None:
    """One text: a list of paragraphs is joined, an empty text is a missing one."""
    text = value if isinstance(value, str) and _as_list(value) is None else " ".join(filter(None, _texts(value, None)))
    return text if text and not text.isspace() else None


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
