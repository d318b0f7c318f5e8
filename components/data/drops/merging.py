"""History and drops as one: each interaction once, the newest arrival of each, nobody who is to be forgotten.

    merged = merge(history, items, store.drops(), store.forgotten())
    merged.interactions, merged.items, merged.counts

An interaction is known by user, item and time. A drop that has a known one with equal values (rating, weight) adds
nothing, and with others it corrects it, in its place. Within a user time orders; interactions at the same time stand in
the order raw data, then drops by their first time and content. So the result does not depend on the order of arrival,
but for corrections of the same interaction, of which the last one to arrive holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from components.data.canonical.coded import Coded, renumbered
from components.data.drops.forgotten import Forgotten
from components.data.drops.store import Drop
from components.errors import BadInput

KEY = ("user", "item", "timestamp")
VALUES = ("rating", "weight")
_WHERE = "data/drops"


@dataclass(frozen=True)
class Merged:
    """Canonical tables after all drops and deletions."""

    interactions: Coded
    items: pl.DataFrame
    counts: dict[str, Any]
    """`from_history`, `forgotten`, `replaced` and `kept` interactions, and in `drops` what each one brought: `read`,
    `added`, `corrected`, `already_there`, `superseded`, `items_added`, `items_corrected`."""


def merge(history: Coded, items: pl.DataFrame, drops: Sequence[Drop], forgotten: Forgotten) -> Merged:
    """Raises `BadInput` where the history has no times to put a drop in order by, or where counts do not meet."""
    from_history = history.rows.height
    history, items, gone = without(history, items, forgotten)
    touched = [drop for drop in drops if drop.interactions is not None]
    counts: dict[str, Any] = {"from_history": from_history, "forgotten": gone, "drops": _empty(drops)}
    if touched:
        _need_order(history)
        history, replaced = _with_interactions(history, touched, counts["drops"])
    else:
        replaced = 0
    items = _with_items(items, drops, counts["drops"])
    items = _of_all(items, history)
    added = sum(each["added"] + each["corrected"] for each in counts["drops"].values())
    counts |= {"replaced": replaced, "kept": history.rows.height}
    if from_history - gone["interactions"] - replaced + added != history.rows.height:
        raise BadInput(f"interactions are lost in the merge: {counts}", where=_WHERE, mend="tell us of it")
    return Merged(history, items, counts)


def without(history: Coded, items: pl.DataFrame, forgotten: Forgotten) -> tuple[Coded, pl.DataFrame, dict[str, int]]:
    """Both tables without who and what is to be forgotten, and how many `interactions`, `users` and `items` went."""
    users, things = forgotten.among("user", history.users), forgotten.among("item", history.items)
    listed = forgotten.among("item", items["item_id"])
    gone = {"interactions": 0, "users": int(users.sum()), "items": int(listed.sum())}
    if users.any() or things.any():
        rows = history.rows.filter(~(users.gather(history.rows["user"]) | things.gather(history.rows["item"])))
        gone["interactions"] = history.rows.height - rows.height
        history = renumbered(Coded(rows, history.users, history.items))
    return history, items.filter(~listed) if listed.any() else items, gone


def coded_with(table: pl.DataFrame, users: pl.Series, items: pl.Series) -> pl.DataFrame:
    """A table of ids in the codes of sorted `users` and `items`, which hold them all."""
    return table.with_columns(
        user=users.search_sorted(table["user_id"]).cast(pl.UInt32),
        item=items.search_sorted(table["item_id"]).cast(pl.UInt32),
    ).drop("user_id", "item_id")


def in_order_of_content(drops: Sequence[Drop]) -> list[Drop]:
    """Drops by their first time, then content: an order that the order of arrival does not change."""

    def key(drop: Drop) -> tuple[str, str]:
        first = None if drop.interactions is None else drop.interactions["timestamp"].min()
        return str(first), drop.sha256

    return sorted(drops, key=key)


def _empty(drops: Sequence[Drop]) -> dict[str, dict[str, int]]:
    names = ("read", "added", "corrected", "already_there", "superseded", "items_added", "items_corrected")
    return {drop.sha256: dict.fromkeys(names, 0) for drop in drops}


def _need_order(history: Coded) -> None:
    """Raise `BadInput` for a history whose order is not that of its times."""
    rows = history.rows
    mend = "bring the whole data again instead of a drop, and run `idiom init`"
    if rows["timestamp"].null_count():
        raise BadInput(
            "the history has interactions without a time: no drop can be put in order", where=_WHERE, mend=mend
        )
    back = (rows["user"] == rows["user"].shift()) & (rows["timestamp"] < rows["timestamp"].shift())
    if back.any():
        what = f"in the history {int(back.sum()):,} steps go back in time against the given position"
        raise BadInput(f"{what}: no drop can be put in order", where=_WHERE, mend=mend)


def _with_interactions(history: Coded, drops: Sequence[Drop], counts: dict[str, dict[str, int]]) -> tuple[Coded, int]:
    """The history with the interactions of the drops, and how many of its rows were replaced by corrections."""
    values = [name for name in VALUES if name in history.rows.columns]
    place = {drop.sha256: number for number, drop in enumerate(in_order_of_content(drops), 1)}
    tables = [drop.interactions for drop in drops if drop.interactions is not None]
    users = pl.concat([history.users, *(table["user_id"] for table in tables)]).unique().sort()
    items = pl.concat([history.items, *(table["item_id"] for table in tables)]).unique().sort()
    base = _recoded(history, users, items).rows.with_row_index("at").with_columns(source=pl.lit(0, pl.UInt32))
    kinds = {name: base.schema[name] for name in values}
    new = pl.concat(
        coded_with(table, users, items)
        .with_row_index("at")
        .select(
            "at",
            *KEY,
            *(pl.col(name) if name in table.columns else pl.lit(None).alias(name) for name in values),
            source=pl.lit(place[drop.sha256], pl.UInt32),
            arrival=pl.lit(drop.number, pl.UInt32),
        )
        .cast(dict(kinds))  # type: ignore[arg-type]
        for drop, table in zip(drops, tables, strict=True)
    )
    latest = new.sort("arrival", "at").unique(KEY, keep="last", maintain_order=True)
    seats = new.sort("source", "at").unique(KEY, keep="first", maintain_order=True).select(*KEY, "source", "at")
    known = base.join(latest.select(*KEY, *(pl.col(name).alias(f"new_{name}") for name in values)), on=KEY)
    same = (
        pl.all_horizontal([pl.col(name).eq_missing(pl.col(f"new_{name}")) for name in values])
        if values
        else pl.lit(True)
    )
    known = known.group_by(KEY).agg(
        same.any().alias("same"), pl.col("at").min().alias("base_at"), pl.len().alias("rows")
    )
    latest = latest.drop("source", "at").join(seats, on=KEY).join(known, on=KEY, how="left")
    equal, corrected = pl.col("same").fill_null(False), pl.col("same").eq_missing(False)
    for drop in drops:
        theirs = latest.filter(pl.col("arrival") == drop.number)
        of = counts[drop.sha256]
        of["read"] = 0 if drop.interactions is None else drop.interactions.height
        of["already_there"] = theirs.filter(equal).height
        of["corrected"] = theirs.filter(corrected).height
        of["added"] = theirs.height - of["already_there"] - of["corrected"]
        of["superseded"] = of["read"] - theirs.height
    replaced = int(latest.filter(corrected)["rows"].sum())
    kept = base.join(latest.filter(corrected).select(KEY), on=KEY, how="anti", maintain_order="left")
    moved = latest.filter(~equal).with_columns(
        source=pl.when(corrected).then(pl.lit(0, pl.UInt32)).otherwise("source"),
        at=pl.when(corrected).then("base_at").otherwise("at"),
    )
    columns = [*KEY, *values, "source", "at"]
    rows = pl.concat([kept.select(columns), moved.select(columns).cast(dict(kept.select(columns).schema))])  # type: ignore[arg-type]
    rows = rows.sort("user", "timestamp", "source", "at", maintain_order=True)
    index = pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(pl.col("user").ne_missing(pl.col("user").shift())).then(index).forward_fill()
    rows = rows.with_columns((index - first).alias("position"))
    return Coded(rows.select(history.rows.columns), users, items), replaced


def _with_items(items: pl.DataFrame, drops: Sequence[Drop], counts: dict[str, dict[str, int]]) -> pl.DataFrame:
    """The item table with the rows of the drops, in the order of arrival: a row replaces the columns that it has."""
    for drop in drops:
        if drop.items is None:
            continue
        new = drop.items
        fresh = {name: pl.lit(None, kind).alias(name) for name, kind in new.schema.items() if name not in items.columns}
        items = items.with_columns(fresh.values())
        new = new.cast({name: items.schema[name] for name in new.columns})  # type: ignore[arg-type]
        values = [name for name in new.columns if name != "item_id"]
        known = items.join(new, on="item_id", how="inner", suffix=" new")
        changed = [pl.col(name).ne_missing(pl.col(f"{name} new")) for name in values]
        corrected = known.filter(pl.any_horizontal(changed)).height if changed else 0
        counts[drop.sha256] |= {"items_added": new.height - known.height, "items_corrected": corrected}
        rest = items.drop(values)
        rows = new.join(rest, on="item_id", how="left").select(items.columns)
        items = pl.concat([items.join(new.select("item_id"), on="item_id", how="anti"), rows])
    return items.sort("item_id") if drops else items


def _of_all(items: pl.DataFrame, history: Coded) -> pl.DataFrame:
    """With a row, without text, for each item that only an interaction names."""
    absent = history.items.alias("item_id").to_frame().join(items, on="item_id", how="anti")
    return pl.concat([items, absent], how="diagonal").sort("item_id") if absent.height else items


def _recoded(history: Coded, users: pl.Series, items: pl.Series) -> Coded:
    """The same rows in the codes of sorted ids that hold all of the history's."""
    if len(users) == len(history.users) and len(items) == len(history.items):
        return history
    of_users, of_items = (
        every.search_sorted(own).cast(pl.UInt32) for every, own in ((users, history.users), (items, history.items))
    )
    rows = history.rows.with_columns(
        of_users.gather(history.rows["user"]).alias("user"), of_items.gather(history.rows["item"]).alias("item")
    )
    return Coded(rows, users, items)
