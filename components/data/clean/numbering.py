"""Draws the order in which items are numbered, by seed and text: the order of item ids tells a model nothing.

An item's number is its row in items_clean.parquet. It breaks ties of scores, and decides which item comes first in
batches, samples and tries. Numbered by id, a catalogue whose ids follow time, shelf or brand hands that order to
whatever learns; numbered by text, a shop that renames all its items gets the same figures.
"""

from __future__ import annotations

import polars as pl

from components.data.clean.itemtext import same_text, text_columns
from components.sampling import hash_numbers


def hashes(items: pl.DataFrame, seed: int) -> pl.DataFrame:
    """[item_id, by_text: u64, by_id: u64] for each row of `items`: the drawn order is that of the two columns.

    Ids decide only between items whose texts are equal in all columns, items without text among them.
    """
    text = items.select(text=same_text(text_columns(items), items.schema).fill_null(""))["text"]
    return items.select(
        "item_id",
        by_text=_numbers(text, f"{seed}:item:"),
        by_id=_numbers(items["item_id"], f"{seed}:item:"),
    )


def of_users(user_ids: pl.Series, seed: int) -> pl.Series:
    """A number of 64 bits for each user id, from seed and id."""
    return _numbers(user_ids, f"{seed}:user:")


def _numbers(names: pl.Series, salt: str) -> pl.Series:
    return pl.Series(hash_numbers(names, salt), dtype=pl.UInt64)
