"""A window of interactions beside those that the champion was trained on, as arrays of numbers.

stream = Stream.of(interactions, items, covered=row_of)       # canonical tables; who has an ID
before, now = stream.between(start, trained_until), stream.between(end - week, end)
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.data.canonical.coded import Coded

_TEXTS = ("title", "brand", "description")


@dataclass(frozen=True)
class Stream:
    """Interactions in order of time."""

    users: NDArray[np.int64]
    """[events] numbers of users."""
    items: NDArray[np.int64]
    """[events] numbers of items."""
    days: NDArray[np.int64]
    """[events] days since 1970 (UTC)."""
    moments: NDArray[np.int64]
    """[events] microseconds since 1970."""
    categories: NDArray[np.int64]
    """[items] number of the deepest category, -1 where an item has none."""
    lengths: NDArray[np.int64]
    """[items] characters of the texts."""
    covered: NDArray[np.bool_]
    """[items] whether the champion has an ID for it."""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, interactions: Coded, items: pl.DataFrame, covered: Container[str]) -> Stream:
        """Of the canonical tables; interactions without a time are left out."""
        rows = interactions.rows.drop_nulls(["user", "item", "timestamp"]).sort("timestamp", "user", "position")
        named = interactions.items.alias("item_id").to_frame()
        table = named.join(items, on="item_id", how="left", maintain_order="left")
        moments = rows["timestamp"].dt.epoch("us").to_numpy()
        return cls(
            users=rows["user"].cast(pl.Int64).to_numpy(),
            items=rows["item"].cast(pl.Int64).to_numpy(),
            days=moments // 86_400_000_000,
            moments=moments,
            categories=_categories(table),
            lengths=_lengths(table),
            covered=np.array([item in covered for item in table["item_id"]], dtype=bool),
        )

    def between(self, start: datetime, end: datetime) -> Stream:
        """What happened after `start`, up to and with `end`."""
        first, last = (int(moment.timestamp() * 1_000_000) for moment in (start, end))
        kept = slice(*(int(place) for place in np.searchsorted(self.moments, [first, last], side="right")))
        parts = {name: getattr(self, name)[kept] for name in ("users", "items", "days", "moments")}
        return replace(self, **parts)

    def sessions(self) -> NDArray[np.int64]:
        """[sessions] how many interactions a user has on a day, of each user and day with any."""
        keys = self.users * (int(self.days.max(initial=0)) + 1) + self.days
        return np.unique(keys, return_counts=True)[1]

    def counts(self) -> NDArray[np.int64]:
        """[items] how often each item occurs."""
        return np.bincount(self.items, minlength=len(self.covered))


def _categories(table: pl.DataFrame) -> NDArray[np.int64]:
    if "categories" not in table.columns:
        return np.full(table.height, -1, np.int64)
    leaves = table["categories"].list.last()
    names = leaves.drop_nulls().unique().sort()
    return leaves.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _lengths(table: pl.DataFrame) -> NDArray[np.int64]:
    there = [pl.col(name).str.len_chars().fill_null(0) for name in _TEXTS if name in table.columns]
    if not there:
        return np.zeros(table.height, np.int64)
    return table.select(pl.sum_horizontal(there).cast(pl.Int64)).to_series().to_numpy()
