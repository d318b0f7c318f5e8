"""Detects histories sorted by item code instead of time, the defect of the released P5 and IDGenRec sequences.

Of two neighbours in a history the later has the larger code in half of the cases by chance. Measured on the four Amazon
sets in their true order: 0.41 to 0.54. In a file sorted by code it is 1. Between the two lies honest data whose codes
follow time (release order, row numbers): there the share is high, but not 1, since people go back.

So the check fails where at least 95 % of the neighbours ascend, or descend, and there are at least 30 of them: by
chance that happens once in ten million files (31 / 2^30 for each direction and reading). Three things keep it from
misfiring:

- Neighbours at the same time do not count while others do: those have a check of their own (`ties_in_no_order`).
- Ids that follow time over the whole shop, not only within a user (rank correlation of id and first time at least
  0.99), explain a sorted history. In Amazon's sorted files, times moved along with the order, it is at most 0.91.
- Both readings of a code count as sorted, "A10" before "A9" (as text) and after it (as a number); the larger share is
  taken, so a file sorted by number is found too.
"""

from __future__ import annotations

import polars as pl

from components.data.canonical import coded
from components.data.clean.tie_order import rank_by_number
from components.data.validate.checks import ROWS_SHOWN, Measured, skipped

LARGEST_SHARE = 0.95
"""Share of ascending (or descending) neighbours from which a file counts as sorted."""
FEWEST_PAIRS = 30
"""Fewer neighbours than this prove nothing."""
_IDS_FOLLOW_TIME = 0.99


def by_item_code(known: coded.Coded) -> Measured:
    """The check `not_sorted_by_item_code`; `known.rows` holds no missing id and is sorted by user and position."""
    pairs = _neighbours(known.rows)
    if pairs.height < FEWEST_PAIRS:
        return skipped(LARGEST_SHARE, f"{pairs.height} neighbours in histories are too few to tell order from chance")
    by_number = pl.lit(rank_by_number(known.items))
    ascending = pairs.select(
        as_text=(pl.col("before") < pl.col("item")).mean(),
        as_number=(by_number.gather("before") < by_number.gather("item")).mean(),
    ).row(0)
    share = max(max(value, 1 - value) for value in ascending)
    if share < LARGEST_SHARE:
        return Measured(share, LARGEST_SHARE)
    if _ids_follow_time(known):
        return skipped(LARGEST_SHARE, "item ids follow time over the whole shop: a history sorted by id is in order")
    return Measured(share, LARGEST_SHARE, _shown(known))


def _neighbours(rows: pl.DataFrame) -> pl.DataFrame:
    """Neighbours [before, item] of different items; those at the same time only where hardly any others are."""
    user, moment = pl.col("user"), pl.col("timestamp")
    pairs = rows.select(
        "item",
        before=pl.when(user == user.shift(1)).then(pl.col("item").shift(1)),
        tied=(moment == moment.shift(1)).fill_null(False),
    ).filter(pl.col("before").is_not_null() & (pl.col("before") != pl.col("item")))
    apart = pairs.filter(~pl.col("tied"))
    return apart if apart.height >= FEWEST_PAIRS else pairs


def _ids_follow_time(known: coded.Coded) -> bool:
    """True where ranking items by id is nearly ranking them by the time they were first met by anyone."""
    first = known.rows.drop_nulls("timestamp").group_by("item").agg(pl.col("timestamp").min())
    if first.height < 3:
        return False
    by_number = pl.lit(rank_by_number(known.items)).gather("item")
    ranks = first.select(
        as_text=pl.corr(pl.col("item").rank(), pl.col("timestamp").rank()).abs(),
        as_number=pl.corr(by_number.rank(), pl.col("timestamp").rank()).abs(),
    ).row(0)
    return max(ranks) >= _IDS_FOLLOW_TIME


def _shown(known: coded.Coded) -> list[dict[str, object]]:
    """Users with the beginning of their histories, so that a person sees the order at a glance."""
    lists = known.rows.group_by("user", maintain_order=True).agg("item").filter(pl.col("item").list.len() > 2)
    return [
        {"user_id": known.users[user], "history": [known.items[item] for item in items[:5]]}
        for user, items in lists.head(ROWS_SHOWN).iter_rows()
    ]
