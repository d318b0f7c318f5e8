"""The interactions under `clean.ties`, split; and, beside them, what the other order would make of them.

`evaluate` shows every figure under both, so `clean` splits twice. Users whom the other order changes nothing for are
left out of the second split: where times do not tie it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from components.data.clean import split
from components.data.clean.ties import Draw, moments
from components.errors import BadInput
from components.settings.params import OTHER_TIES, Ties


@dataclass(frozen=True)
class Orders:
    """`rows` [user, item, position, timestamp], sorted by user and position, before the split."""

    rows: pl.DataFrame
    ties: Ties
    cuts: split.Cuts | None
    draw: Draw

    def __post_init__(self) -> None:
        if self.ties != "file" and not self._timed:
            raise BadInput(
                f"clean.ties is {self.ties}, but no interaction has a time, so that nothing is known to tie",
                where="params.yaml: clean.ties",
                mend="set clean.ties: file, or map the time column in ingest.columns",
            )

    @cached_property
    def parted(self) -> pl.DataFrame:
        """The rows in order, with the column `part` (`split.PARTS`)."""
        return self._parted(self.ties)

    @cached_property
    def other(self) -> pl.DataFrame:
        """The same under the other order, of the users for whom it is another; parts that are used alone."""
        if not self._timed or moments(self.rows).max() == self.rows.height:
            return self.parted.clear()
        other = self._parted(OTHER_TIES[self.ties])
        differs = (other["item"] != self.parted["item"]) | (other["part"] != self.parted["part"])
        users = other["user"].filter(differs).unique()
        return other.filter(pl.col("user").is_in(users.implode()) & pl.col("part").is_in(split.USED))

    @property
    def at_one_time(self) -> int:
        """Users who only train, with `set` and leave-one-out: their whole history is at one time, nothing is earlier.

        With global-time such a user is like any other who has no training history."""
        if self.ties != "set" or self.cuts is not None:
            return 0
        timed = self.rows.with_columns(moment=moments(self.rows))
        users = timed.group_by("user").agg(pl.len(), pl.col("moment").n_unique())
        return users.filter((pl.col("len") > 1) & (pl.col("moment") == 1)).height

    @property
    def _timed(self) -> bool:
        return self.rows["timestamp"].null_count() < self.rows.height

    def _parted(self, ties: Ties) -> pl.DataFrame:
        rows = self.rows if ties == "file" else self.draw.order(self.rows)
        return split.with_parts(rows, self.cuts, sets=ties == "set")
