"""k-core: every user keeps at least so many interactions and every item as well, repeated until nothing changes."""

from __future__ import annotations

import polars as pl


def k_core(rows: pl.DataFrame, *, per_user: int, per_item: int) -> tuple[pl.DataFrame, int]:
    """Drop users with fewer than `per_user` rows and items with fewer than `per_item`, to the fixed point.

    `rows` has columns `user` and `item` (any type) and keeps its order. Returns the core, which is empty where there is
    none, and the number of passes. The core is the largest one, so it depends on no order (Seidman 1983).
    """
    passes = 0
    while True:
        before = rows.height
        for column, least in (("user", per_user), ("item", per_item)):
            rare = rows.group_by(column).len().filter(pl.col("len") < least)
            if rare.height:
                rows = rows.join(rare, on=column, how="anti", maintain_order="left")
        passes += 1
        if rows.height == before:
            return rows, passes
