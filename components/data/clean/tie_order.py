"""Measures in which order a file gives interactions at the same time: by chance, or by item id.

Of two neighbours at one time the later has the larger id in half of the cases, if nobody sorted them. In Amazon's
reviews of 2014 it has it always. Then the next item of a day is the next id, and whatever learns which id follows which
is paid for it (docs/ties.md). Both readings of an id count, "A10" before "A9" (as text) and after it (as a number).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import polars as pl

from components.data.canonical import coded

LARGEST_SHARE = 0.55
"""Shares up to this are chance, or too small to matter: 0.51 among the baskets of a wholesaler."""
_ONCE_IN_A_THOUSAND = 3.29
"""Standard deviations that chance goes beyond once in a thousand files."""


@dataclass(frozen=True)
class TieOrder:
    """Neighbours in histories at the same time, of different items."""

    up: int
    """The later one has the larger id."""
    down: int
    users_tied_last: int
    """Users whose last item is at the time of the one before."""
    users: int
    """Users with two interactions or more whose last two have a time."""

    @property
    def neighbours(self) -> int:
        return self.up + self.down

    @property
    def share(self) -> float:
        """Of the commoner direction, 0.5 to 1; 0.5 where there are none."""
        return max(self.up, self.down) / self.neighbours if self.neighbours else 0.5

    @property
    def bound(self) -> float:
        """The largest share that is no order: `LARGEST_SHARE`, or what chance exceeds once in a thousand files."""
        return min(1.0, max(LARGEST_SHARE, 0.5 + _ONCE_IN_A_THOUSAND / (2 * sqrt(max(self.neighbours, 1)))))

    @property
    def sorted(self) -> bool:
        """Whether the file orders its ties by item id."""
        return self.share > self.bound

    @property
    def p_value(self) -> float:
        """Two-sided binomial test of the directions against one half; 0 stands for less than 1e-300."""
        from scipy.stats import binomtest  # takes a second to import

        return float(binomtest(self.up, self.neighbours).pvalue) if self.neighbours else 1.0

    @property
    def tied_last(self) -> float:
        """Share of the users whose last item is at the time of the one before, so that the order decides the target."""
        return self.users_tied_last / self.users if self.users else 0.0

    def facts(self) -> dict[str, Any]:
        """For a verdict."""
        return {
            "ascending": self.up,
            "descending": self.down,
            "p_value": self.p_value,
            "share_of_last_items_tied": round(self.tied_last, 6),
        }

    def in_words(self) -> str:
        """`77,402 of 77,402 neighbours at the same time ascend by item id (p < 1e-300); ...`"""
        direction, count = ("ascend", self.up) if self.up >= self.down else ("descend", self.down)
        p_value = self.p_value
        chance = "p < 1e-300" if p_value < 1e-300 else f"p = {p_value:.1g}"
        return (
            f"{count:,} of {self.neighbours:,} neighbours at the same time {direction} by item id ({chance}, if order "
            f"were chance); {self.tied_last:.0%} of the last items share the time of the one before"
        )


def measure(known: coded.Coded) -> TieOrder:
    """The order of ties in `known`, whose rows hold no missing id and are sorted by user and position."""
    user, moment = pl.col("user"), pl.col("timestamp")
    same_user = user.eq_missing(user.shift())
    pairs = known.rows.select(
        "item",
        before=pl.col("item").shift(),
        tied=(same_user & (moment == moment.shift())).fill_null(False),
        last=same_user & user.ne_missing(user.shift(-1)),
        timed=moment.is_not_null() & moment.shift().is_not_null(),
    )
    last = pairs.filter(pl.col("last") & pl.col("timed"))
    tied = pairs.filter(pl.col("tied") & (pl.col("item") != pl.col("before")))
    by_number = pl.lit(rank_by_number(known.items))
    up = tied.select(
        as_text=(pl.col("before") < pl.col("item")).sum(),
        as_number=(by_number.gather("before") < by_number.gather("item")).sum(),
    ).row(0)
    clearest = max(up, key=lambda count: abs(2 * count - tied.height))
    return TieOrder(clearest, tied.height - clearest, int(last["tied"].sum()), last.height)


def rank_by_number(item_ids: pl.Series) -> pl.Series:
    """Rank of every code when ids are read as numbers, shorter ones first: "9" before "10"."""
    name = pl.col(item_ids.name)
    order = item_ids.to_frame().select(pl.arg_sort_by(name.str.len_chars(), name)).to_series()
    return order.arg_sort().cast(pl.UInt32)
