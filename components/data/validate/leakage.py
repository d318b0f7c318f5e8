"""The leakage suite: checks whether targets can be guessed from something that production will not know.

The target checks look at the leave-one-out split of `split.with_parts`. Global-time needs no such check: equal times
fall on the same side of a date.
"""

from __future__ import annotations

import polars as pl

from components.data.canonical import coded
from components.data.clean import split, tie_order
from components.data.clean.itemtext import same_text, text_columns
from components.data.clean.kcore import few_in_training
from components.data.validate.checks import ROWS_SHOWN, Measured, skipped
from components.data.validate.checks_interactions import measured, show
from components.data.validate.sortedness import by_item_code
from components.settings import params

_NO_TIMES = "no interaction has a time"
_REPEATS_ARE_REAL = "people buy again (clean.drop_repeats: false); `evaluate` reports repeated and new targets apart"
FEWEST_OF_A_CORE = 3
"""Of a file whose items have two interactions each nobody would say that it was cut."""
FEWEST_AT_A_CUT = 30
"""Items with the fewest interactions of all; less of them may be chance."""
MAX_FEW = 0.05
"""Share of the targets that a k-core over everything gives away, up to which it hardly matters."""


def measure(
    interactions: coded.Coded, touched: pl.DataFrame, settings: params.Validate, cleaning: params.Clean
) -> dict[str, Measured]:
    """Measured checks of the suite `leakage`; `touched` are the catalogue rows that an interaction names."""
    rows = split.with_parts(interactions.rows.drop_nulls(["user", "item"]))
    known = coded.Coded(rows, interactions.users, interactions.items)
    return {
        "time_goes_forward": _time_goes_forward(known),
        "not_sorted_by_item_code": by_item_code(known),
        "no_interaction_in_two_splits": _in_two_splits(known),
        "target_not_in_history": _target_in_history(known) if cleaning.drop_repeats else skipped(0, _REPEATS_ARE_REAL),
        "no_duplicate_items": _duplicate_items(touched),
        "few_cold_targets": _cold_targets(known, settings),
        "few_ties_in_time": _ties(known, settings),
        "ties_in_no_order": _tie_order(known, cleaning),
        "core_without_targets": _core(known, cleaning),
    }


def _time_goes_forward(known: coded.Coded) -> Measured:
    rows = known.rows
    if rows["timestamp"].null_count() == rows.height:
        return skipped(0, _NO_TIMES)
    latest = pl.col("timestamp").cum_max().over("user")
    back = rows.filter(pl.col("timestamp") < latest)
    return measured(back, known, share=False)


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
    is_doubled = (times.min().over("user", "timestamp") > 1) | beside | beside.shift(-1).fill_null(False)
    repeated = timed.filter(timed.select(event).is_duplicated())
    repeated = timed.filter(is_doubled) if len(repeated) else repeated
    parts = repeated.group_by(event).agg(pl.col("part").n_unique())
    doubled = repeated.join(parts.filter(pl.col("part") > 1), on=event, how="semi", maintain_order="left")
    users, everybody = doubled["user"].n_unique(), timed["user"].n_unique()
    return Measured(users / everybody, 0.01, show(doubled, known), count=users, of=everybody, unit="users")


def _target_in_history(known: coded.Coded) -> Measured:
    targets = known.rows.filter(pl.col("part") == "test")
    earlier = known.rows.filter(pl.col("part") != "test").select("user", "item")
    repeats = targets.join(earlier, on=["user", "item"], how="semi", maintain_order="left")
    return measured(repeats, known, of=targets.height, unit="last items")


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
    return Measured(surplus, 0, shown.to_dicts(), count=surplus, of=touched["item_id"].n_unique(), unit="items")


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
    return measured(cold, known, settings.max_cold_target_share, of=targets.height, unit="last items")


def _ties(known: coded.Coded, settings: params.Validate) -> Measured:
    user, moment = pl.col("user"), pl.col("timestamp")
    last = known.rows.filter(user.ne_missing(user.shift(-1)) & user.eq_missing(user.shift(1)))
    before = known.rows.filter(user.eq_missing(user.shift(-1)) & user.ne_missing(user.shift(-2)))
    both = last.with_columns(before=before["timestamp"]).drop_nulls(["timestamp", "before"])
    if both.is_empty():
        return skipped(settings.max_tie_share, _NO_TIMES)
    tied = both.filter(moment == pl.col("before"))
    return measured(tied, known, settings.max_tie_share, of=both.height, unit="users")


def _tie_order(known: coded.Coded, cleaning: params.Clean) -> Measured:
    """Share of the commoner direction of item ids among neighbours at the same time; the first users who have some."""
    if known.rows["timestamp"].null_count() == known.rows.height:
        return skipped(tie_order.LARGEST_SHARE, _NO_TIMES)
    found = tie_order.measure(known)
    if not found.neighbours:
        return skipped(tie_order.LARGEST_SHARE, "no user has two items at the same time")
    if found.sorted and cleaning.ties != "file":
        return skipped(found.bound, f"{found.in_words()}; clean.ties is {cleaning.ties}, so that order is not used")
    user, moment = pl.col("user"), pl.col("timestamp")
    tied = known.rows.filter((user == user.shift()) & (moment == moment.shift()))
    return Measured(found.share, found.bound, show(tied, known) if found.sorted else [], said=found.in_words())


def _core(known: coded.Coded, cleaning: params.Clean) -> Measured:
    """Share of the last items with fewer than k interactions in training, in a file whose items all have k or more.

    Such a file was cut where its counts are commonest: one in which few items have the fewest was not cut there.
    """
    counts = known.rows.group_by("item").len().group_by("len").agg(items=pl.len()).sort("len")
    least = int(counts["len"][0]) if counts.height else 0
    at_least, above = counts["items"].head(2).to_list() if counts.height > 1 else (0, 1)
    cut = at_least >= max(above, FEWEST_AT_A_CUT) and counts["len"][1] == least + 1
    if least < FEWEST_OF_A_CORE or not cut:
        return skipped(MAX_FEW, "the file is no k-core; the report of `clean` says what its own one tells")
    if cleaning.core == "training" and cleaning.min_item_interactions >= least:
        return skipped(MAX_FEW, f"clean.core is training: items with fewer than {least} training interactions go")
    found = few_in_training(known.rows, least)
    said = (
        f"Every item has {least} interactions or more; without the last two of each user {found['share_of_items']:.1%} "
        f"of the items, and {found['share_of_test_targets']:.1%} of the last items, have fewer"
    )
    trained = known.rows.filter(pl.col("part") == "history").group_by("item").len().filter(pl.col("len") >= least)
    few = known.rows.filter(pl.col("part") == "test").join(trained, on="item", how="anti", maintain_order="left")
    return Measured(found["share_of_test_targets"], MAX_FEW, show(few, known), said=said)
