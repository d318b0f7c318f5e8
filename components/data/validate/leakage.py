"""The leakage suite: checks whether targets can be guessed from something that production will not know.

The target checks look at the leave-one-out split of `split.with_parts`. Global-time needs no such check: equal times
fall on the same side of a date.
"""

from __future__ import annotations

import polars as pl

from components.data.canonical import coded
from components.data.clean import split
from components.data.clean.itemtext import same_text, text_columns
from components.data.validate.checks import ROWS_SHOWN, Measured, skipped
from components.data.validate.checks_interactions import show
from components.data.validate.sortedness import by_item_code
from components.settings import params

_NO_TIMES = "no interaction has a time"
_REPEATS_ARE_REAL = "people buy again (clean.drop_repeats: false); `evaluate` reports repeated and new targets apart"


def measure(
    interactions: coded.Coded, touched: pl.DataFrame, settings: params.Validate, *, drop_repeats: bool = True
) -> dict[str, Measured]:
    """Measured checks of the suite `leakage`; `touched` are the catalogue rows that an interaction names.

    drop_repeats: see `validate`.
    """
    rows = split.with_parts(interactions.rows.drop_nulls(["user", "item"]))
    known = coded.Coded(rows, interactions.users, interactions.items)
    return {
        "time_goes_forward": _time_goes_forward(known),
        "not_sorted_by_item_code": by_item_code(known),
        "no_interaction_in_two_splits": _in_two_splits(known),
        "target_not_in_history": _target_in_history(known) if drop_repeats else skipped(0, _REPEATS_ARE_REAL),
        "no_duplicate_items": _duplicate_items(touched),
        "few_cold_targets": _cold_targets(known, settings),
        "few_ties_in_time": _ties(known, settings),
    }


def _time_goes_forward(known: coded.Coded) -> Measured:
    rows = known.rows
    if rows["timestamp"].null_count() == rows.height:
        return skipped(0, _NO_TIMES)
    latest = pl.col("timestamp").cum_max().over("user")
    back = rows.filter(pl.col("timestamp") < latest)
    return Measured(back.height, 0, show(back, known))


def _in_two_splits(known: coded.Coded) -> Measured:
    """Users with one event (user, item, time) in two parts; without times it cannot be told from a repeat.

    Nor can it where a session shares one time. In a table that was exported twice all items of a moment stand twice,
    and a join that multiplies rows puts them side by side; a visitor who comes back to an item does neither.
    """
    timed = known.rows.drop_nulls("timestamp")
    if timed.is_empty():
        return skipped(0.01, _NO_TIMES)
    event = ["user", "item", "timestamp"]
    times = pl.len().over(event)
    beside = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in event)
    doubled = (times.min().over("user", "timestamp") > 1) | beside | beside.shift(-1).fill_null(False)
    repeated = timed.filter(timed.select(event).is_duplicated())
    repeated = timed.filter(doubled) if len(repeated) else repeated
    parts = repeated.group_by(event).agg(pl.col("part").n_unique())
    doubled = repeated.join(parts.filter(pl.col("part") > 1), on=event, how="semi", maintain_order="left")
    share = doubled["user"].n_unique() / timed["user"].n_unique()
    return Measured(share, 0.01, show(doubled, known))


def _target_in_history(known: coded.Coded) -> Measured:
    targets = known.rows.filter(pl.col("part") == "test")
    earlier = known.rows.filter(pl.col("part") != "test").select("user", "item")
    repeats = targets.join(earlier, on=["user", "item"], how="semi", maintain_order="left")
    return Measured(repeats.height / max(targets.height, 1), 0.0, show(repeats, known))


def _duplicate_items(touched: pl.DataFrame) -> Measured:
    """Items beyond the first of each group with equal text; case and outer space do not make a difference."""
    text = same_text(text_columns(touched), touched.schema).str.to_lowercase().str.strip_chars()
    groups = (
        touched.select("item_id", text=text)
        .drop_nulls()
        .unique("item_id")
        .group_by("text")
        .agg(pl.col("item_id").sort())
        .filter(pl.col("item_id").list.len() > 1)
        .sort(pl.col("item_id").list.first())
    )
    surplus = int((groups["item_id"].list.len() - 1).sum())
    shown = groups.head(ROWS_SHOWN).select(
        item_ids=pl.col("item_id").list.head(5), text=pl.col("text").str.replace_all("[\x1e\x1f]+", " | ").str.head(120)
    )
    return Measured(surplus, 0, shown.to_dicts())


def _cold_targets(known: coded.Coded, settings: params.Validate) -> Measured:
    targets = known.rows.filter(pl.col("part") == "test")
    if targets.is_empty():
        return skipped(settings.max_cold_target_share, "no user has three interactions")
    earlier = known.rows.filter(pl.col("part") != "test")
    everyone = earlier.group_by("item").len("everyone")
    own = earlier.group_by("user", "item").len("own")
    counted = targets.join(everyone, on="item", how="left", maintain_order="left").join(
        own, on=["user", "item"], how="left", maintain_order="left"
    )
    cold = counted.filter(pl.col("everyone").fill_null(0) == pl.col("own").fill_null(0))
    return Measured(cold.height / targets.height, settings.max_cold_target_share, show(cold, known))


def _ties(known: coded.Coded, settings: params.Validate) -> Measured:
    user, moment = pl.col("user"), pl.col("timestamp")
    last = known.rows.filter(user.ne_missing(user.shift(-1)) & user.eq_missing(user.shift(1)))
    before = known.rows.filter(user.eq_missing(user.shift(-1)) & user.ne_missing(user.shift(-2)))
    both = last.with_columns(before=before["timestamp"]).drop_nulls(["timestamp", "before"])
    if both.is_empty():
        return skipped(settings.max_tie_share, _NO_TIMES)
    tied = both.filter(moment == pl.col("before"))
    return Measured(tied.height / both.height, settings.max_tie_share, show(tied, known))
