"""Item texts: scrubs the text columns of a catalogue, drops boilerplate, cuts, and fills a template for each item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from components.data.clean.text import cut, scrub
from components.errors import BadInput
from components.settings import params

NOT_TEXT = ("item_id", "image_url")
"""String columns that no one reads aloud."""
_FEWEST = 3
"""A sentence of fewer descriptions than this is no boilerplate whatever its share: two of four may be a coincidence."""
_SENTENCE = r"(?s).+?(?:[.!?]+\s+|$)"


def text_columns(items: pl.DataFrame) -> list[str]:
    """Columns of text (string or list of strings) in the order of the table."""
    kinds = (pl.String, pl.List(pl.String))
    return [name for name, kind in items.schema.items() if kind in kinds and name not in NOT_TEXT]


def same_text(columns: list[str], schema: pl.Schema) -> pl.Expr:
    """An expression that is equal for two items if all their text is equal; null for an item without text."""
    parts = [pl.col(name).list.join("\x1f") if schema[name] == pl.List(pl.String) else pl.col(name) for name in columns]
    joined = pl.concat_str([part.fill_null("") for part in parts], separator="\x1e") if parts else pl.lit("")
    return pl.when(joined.str.strip_chars("\x1e\x1f ") != "").then(joined)


def scrub_columns(items: pl.DataFrame, boilerplate_share: float) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`items` with every text column scrubbed; empty fields are null, list columns hold distinct non-empty parts.

    Returns also what was done: fields emptied per column, and the boilerplate sentences with the texts they stood in.
    """
    emptied = {}
    for name in text_columns(items):
        before = items[name].null_count()
        column = _scrub_lists(items[name]) if items.schema[name] == pl.List(pl.String) else scrub(items[name])
        items = items.with_columns(column.alias(name))
        emptied[name] = items[name].null_count() - before
    items, sentences = _without_boilerplate(items, boilerplate_share)
    return items, {"fields_emptied": emptied, "boilerplate": sentences}


def _scrub_lists(lists: pl.Series) -> pl.Series:
    """Each distinct part once, in the order of its first occurrence; a list without parts is null."""
    parts = lists.to_frame("part").with_row_index("row").explode("part", empty_as_null=True)
    parts = parts.with_columns(scrub(parts["part"]).alias("part")).drop_nulls("part").unique(maintain_order=True)
    clean = parts.group_by("row", maintain_order=True).agg("part")
    rows = pl.DataFrame({"row": pl.int_range(len(lists), dtype=pl.UInt32, eager=True)})
    return rows.join(clean, on="row", how="left", maintain_order="left")["part"]


def _without_boilerplate(items: pl.DataFrame, share: float) -> tuple[pl.DataFrame, dict[str, int]]:
    """Drop sentences that stand in at least `share` of the descriptions ("Free shipping on all orders.")."""
    if "description" not in items.columns or items.schema["description"] != pl.String or share >= 1:
        return items, {}
    texts = items.select("description").with_row_index("row").drop_nulls()
    sentences = texts.with_columns(sentence=pl.col("description").str.extract_all(_SENTENCE)).explode("sentence")
    key = pl.col("sentence").str.strip_chars()
    counts = sentences.group_by(sentence=key).agg(texts=pl.col("row").n_unique())
    least = max(_FEWEST, share * texts.height)
    common = counts.filter(pl.col("texts") >= least).sort(["texts", "sentence"], descending=[True, False])
    if common.is_empty():
        return items, {}
    kept = sentences.filter(~key.is_in(common["sentence"].implode()))
    rejoined = kept.group_by("row", maintain_order=True).agg(pl.col("sentence").str.join(""))
    rows = items.with_row_index("row").drop("description")
    description = scrub(rows.join(rejoined, on="row", how="left", maintain_order="left")["sentence"])
    return items.with_columns(description.alias("description")), dict(common.iter_rows())


def aliases(items: pl.DataFrame) -> pl.DataFrame:
    """Merged items [item_id, kept_id], sorted: of items with equal text the one with the smallest id stays.

    Items without any text stay apart.
    """
    keyed = items.select("item_id", text=same_text(text_columns(items), items.schema)).drop_nulls("text")
    merged = keyed.select("item_id", kept_id=pl.col("item_id").min().over("text"))
    return merged.filter(pl.col("item_id") != pl.col("kept_id")).sort("item_id")


def with_text(
    items: pl.DataFrame, settings: params.Clean, *, also: Sequence[str] = ()
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Scrubbed `items` -> [item_id, text, ...the text columns, cut], and how many texts came from which columns.

    An item whose named fields are all empty takes its other text columns, and one without any text its id: it stays,
    because dropping it would change the histories and the catalogue that published figures are measured on, and a shop
    wants to sell it. Of the default fields those count that are there. Raises `BadInput` where no item has text in a
    named field, or where the table lacks a field that somebody named. `also`: further columns, of words of views.
    """
    template = settings.text_template
    if "{value}" not in template:
        raise BadInput(
            f"text_template is {template!r}, without {{value}}",
            where="params.yaml: clean.text_template",
            mend='write it as "{field}: {value}" or "{value}"',
        )
    columns = text_columns(items)
    named = [name for name in dict.fromkeys([*settings.text_fields, *also]) if name in items.columns]
    if settings.text_fields != params.Clean().text_fields:
        _need_fields(settings.text_fields, items.columns, columns)
    others = [name for name in columns if name not in named]
    items = items.with_columns(
        cut(pl.col(name), settings.max_field_chars) for name in columns if items.schema[name] == pl.String
    )
    by_fields, by_others = (_filled(items.schema, names, settings) for names in (named, others))
    fallback = pl.format("item {}", "item_id")
    frame = items.with_columns(_named=by_fields, _others=by_others)
    _need_text(frame, named, others)
    origin = {
        "named_fields": frame["_named"].len() - frame["_named"].null_count(),
        "other_columns": frame.filter(pl.col("_named").is_null() & pl.col("_others").is_not_null()).height,
        "item_id": frame.filter(pl.col("_named").is_null() & pl.col("_others").is_null()).height,
    }
    text = cut(pl.coalesce("_named", "_others", fallback), settings.max_text_chars)
    return frame.select("item_id", text.alias("text"), *(name for name in columns if name != "text")), origin


def _filled(schema: pl.Schema, names: list[str], settings: params.Clean) -> pl.Expr:
    """The template over columns `names`, joined by ", "; null where all of them are empty."""
    fields = []
    for name in names:
        column = pl.col(name)
        value = column.list.join(", ") if isinstance(schema[name], pl.List) else column.cast(pl.String)
        value = cut(value, settings.max_field_chars)
        before, *rest = settings.text_template.replace("{field}", name).split("{value}")
        filled = pl.lit(before)
        for piece in rest:
            filled = filled + value + pl.lit(piece)
        fields.append(filled)
    if not fields:
        return pl.lit(None, pl.String)
    joined = pl.concat_str(fields, separator=", ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _need_fields(named: list[str], present: list[str], texts: list[str]) -> None:
    """Raise `BadInput` for a text field that the items lack: a misspelt one would be missing from every text."""
    for name in named:
        if name not in present:
            raise BadInput(
                f"the items have no column {name!r}",
                where="params.yaml: clean.text_fields",
                mend=f"take it out, or name columns of theirs: {', '.join(texts)}",
            )


def _need_text(frame: pl.DataFrame, named: list[str], others: list[str]) -> None:
    if frame["_named"].null_count() < frame.height:
        return
    with_text = [name for name in others if frame[name].null_count() < frame.height]
    raise BadInput(
        f"no item has text in the fields {named or '(none of them is in the table)'}",
        where="params.yaml: clean.text_fields",
        mend=f"name columns that hold text: {', '.join(with_text)}" if with_text else "add item text to the raw data",
    )
