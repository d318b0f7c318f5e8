"""Interactions of one user at the same time: draws their order, so that what the file happened to do tells nothing.

Where times are days, several interactions share one, and the order in which a file gives them is not the order in which
they happened. Often it is that of the item ids (`tie_order` measures it), and whatever learns which id follows which is
then paid for it, in training and in the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.data.clean import numbering


def moments(rows: pl.DataFrame) -> pl.Series:
    """A rising number for each moment of each user: neighbours at the same time share one. `rows` [user, timestamp] is
    sorted by user and position; an interaction without time is a moment of its own."""
    user, time = pl.col("user"), pl.col("timestamp")
    begins = user.ne_missing(user.shift()) | time.is_null() | time.ne_missing(time.shift())
    return rows.select(begins.cum_sum().alias("moment"))["moment"]


@dataclass(frozen=True)
class Draw:
    """What decides the order of a tie: numbers of 64 bits, from hashes of the seed and user ids, and of item texts."""

    users: pl.Series
    """By user code."""
    items: pl.DataFrame
    """`by_text` and `by_id`, by item code; ids decide between items of equal text alone."""

    @classmethod
    def of(cls, user_ids: pl.Series, item_ids: pl.Series, hashes: pl.DataFrame, seed: int) -> Draw:
        """From ids by code, and the hashes of the items (`numbering.hashes`)."""
        items = item_ids.to_frame("item_id").join(hashes, on="item_id", how="left", maintain_order="left")
        return cls(numbering.of_users(user_ids, seed), items.select(pl.col("by_text", "by_id").fill_null(0)))

    def order(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` [user, item, position, timestamp], sorted by user and position, with the order within each moment
        drawn, and numbered anew.

        It depends on user and items alone: not on the rows' own order, nor on the ids of items that differ in text.
        """
        own = self.users.gather(rows["user"]).to_numpy()
        draws = {name: _mixed(own ^ self.items[name].gather(rows["item"]).to_numpy()) for name in self.items.columns}
        ordered = rows.with_columns(moment=moments(rows), **{name: pl.Series(draw) for name, draw in draws.items()})
        ordered = ordered.sort("moment", *draws, maintain_order=True).drop("moment", *draws)
        place = pl.int_range(pl.len(), dtype=pl.Int32)
        first = pl.when(pl.col("user").ne_missing(pl.col("user").shift())).then(place).forward_fill()
        return ordered.with_columns((place - first).alias("position"))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number through the last steps of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

    Without them the order of three items would be one of four: a user's bits would only turn pairs around.
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
