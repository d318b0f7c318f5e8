"""k-core: every user keeps at least so many interactions and every item as well, repeated until nothing changes."""

from __future__ import annotations

from typing import Any

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


def training_core(rows: pl.DataFrame, *, per_user: int, per_item: int) -> tuple[pl.DataFrame, int]:
    """The k-core of the training part alone: `rows` with parts (`split`) of its users, and the number of passes.

    A k-core over everything counts the held-out items, so that an item with fewer than `per_item` interactions in
    training is somebody's target: whoever counts knows it. Here held-out rows decide nothing. Of a user's interactions
    two are held out, so `per_user` - 2 are asked of the training part. Held-out rows stay, whatever their item.
    """
    training = rows.filter(pl.col("part") == "history").select("user", "item")
    core, passes = k_core(training, per_user=max(1, per_user - 2), per_item=per_item)
    users, items = core["user"].unique(), core["item"].unique()
    outside = (pl.col("part") == "history") & ~pl.col("item").is_in(items.implode())
    return rows.filter(pl.col("user").is_in(users.implode()) & ~outside), passes


def few_in_training(rows: pl.DataFrame, per_item: int) -> dict[str, Any]:
    """How many items of `rows` with parts, and how many test targets, have fewer than `per_item` training interactions.

    For readers of the report: it counts test targets, so nothing that learns may know it.
    """
    trained = rows.filter(pl.col("part") == "history").group_by("item").len()
    items = rows.select("item").unique().join(trained, on="item", how="left")
    targets = rows.filter(pl.col("part") == "test").select("item").join(trained, on="item", how="left")
    found: dict[str, Any] = {"fewer_than": per_item}
    for name, counted in (("items", items), ("test_targets", targets)):
        few = counted.filter(pl.col("len").fill_null(0) < per_item).height
        found |= {name: few, f"share_of_{name}": round(few / max(counted.height, 1), 6)}
    return found
