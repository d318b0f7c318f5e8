"""How often and when a candidate was taken, as known at the end of the day of the history's newest event.

Counts are clipped: all below the k-core's k are k (`clean.min_item_interactions`). A k-core counts held-out events too,
so who knows that an item has fewer than k training events knows that it is somebody's target. An item of a clipped
count has no times either: of one event the first is the last, of few events the last is long ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking.features import COUNTS_AND_TIMES, Asked, Columns, Feature, named, stacked
from components.voices.learned import Learned

WINDOWS = (30.0, 90.0, 365.0)
"""Days before the moment."""
_NEVER = 10_000.0
"""Days since an event that has not happened."""


def features() -> list[Feature]:
    """Count until the moment, counts of the days before it, days since the first and since the last event."""
    windows = [f"count_{days:.0f}_days" for days in WINDOWS]
    return named(COUNTS_AND_TIMES, ("count", *windows, "age", "since_last"))


def timeline(learned: Learned, *, core: int) -> dict[str, NDArray[Any]]:
    """`starts` [items + 1] and `days` [events] sorted within each item; events without a time come first, as -inf.
    `untimed`: of how many events until the moment nothing is said of their days."""
    days = np.where(np.isnan(learned.days), -np.inf, np.floor(learned.days))
    items = learned.histories.values
    order = np.lexsort((days, items))
    starts = np.searchsorted(items[order], np.arange(len(learned.catalogue.table) + 1))
    return {"starts": starts.astype(np.int64), "days": days[order].astype(np.float32), "untimed": np.array([core])}


def extended(arrays: Mapping[str, NDArray[Any]], items: int) -> dict[str, NDArray[Any]]:
    """`timeline` with `items` new ones at the end, which nobody took yet."""
    return {"starts": np.concatenate([arrays["starts"], np.repeat(arrays["starts"][-1:], items)])}


def counted(arrays: Mapping[str, NDArray[Any]], asked: Asked, *, core: int) -> Columns:
    """[candidates, 6]. A history without times asks on the last day of all."""
    days, first = arrays["days"].astype(np.float64), arrays["starts"][asked.items]
    timed = days[np.isfinite(days)]
    last_day = timed.max() if len(timed) else 0.0
    moments = np.where(np.isnan(asked.moments), last_day, asked.moments)[asked.owners]
    until = _until(arrays, asked.items, moments)
    least = max(core, 1)
    columns = [np.maximum(until - first, least)]
    for window in WINDOWS:
        columns.append(np.maximum(until - _until(arrays, asked.items, moments - window), least))
    untimed = int(arrays["untimed"][0]) if "untimed" in arrays else 0  # a ranker that was saved before read them all
    some = until - first > untimed
    for place in (np.minimum(first, len(days) - 1), until - 1) if len(days) else ():
        columns.append(np.where(some, np.minimum(moments - days[place], _NEVER), _NEVER))
    return stacked([*columns, *([np.full(len(first), _NEVER)] * 2 if not len(days) else ())])


def _until(
    arrays: Mapping[str, NDArray[Any]], items: NDArray[np.int64], moments: NDArray[np.float64]
) -> NDArray[np.int64]:
    """[candidates] place in `days` behind the last event of the item on or before the moment, by bisection."""
    days, low, high = arrays["days"], arrays["starts"][items].copy(), arrays["starts"][items + 1].copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        before = open_ & (days[np.minimum(middle, len(days) - 1)] <= moments)
        low = np.where(before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return low
