"""What is asked of a drop of new data, against the history: columns, times, volume, items, and how they are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from components.data.append.reading import Read
from components.data.canonical.coded import Coded
from components.data.canonical.shift import popularity_buckets, stability
from components.data.drops.merging import VALUES
from components.data.validate.checks import ROWS_SHOWN, Check, Measured, skipped
from components.settings.operating import Drops

_DAY_SECONDS = 86_400.0
_FEWEST = 100
"""Interactions below which a distribution says nothing."""
_LEAST_EXPECTED = 10.0
"""Interactions that a drop may always bring once over: a share of nearly nothing says nothing."""
_RECENT = 10
"""The newest history that a drop is compared with has so many times its interactions, and at least 5,000."""


@dataclass(frozen=True)
class Against:
    """What a drop is judged by."""

    history: Coded
    items: pl.DataFrame
    new: int
    """Interactions of the drop that the history has not."""
    now: datetime


def _check(name: str, severity: str, meaning: str, mend: str, column: str = "") -> Check:
    return Check(name, "drop", severity, meaning, mend, column)  # type: ignore[arg-type]


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        _check(
            "drop_has_the_columns",
            "critical",
            "The drop has the history's columns, not all empty: ratings and weights of interactions, titles of items.",
            "Export the same columns as before; ingest.columns maps names.",
        ),
        _check(
            "drop_has_all_texts",
            "warning",
            "Items of the drop have the other texts that those of the catalogue have: IDs are written from them.",
            "Export brand, categories and description as before, if these items have any.",
            "items",
        ),
        _check(
            "drop_has_times",
            "critical",
            "Every interaction of the drop has a time, by which it is put in order and known again.",
            "Complete the times.",
            "interactions.timestamp",
        ),
        _check(
            "drop_not_from_the_future",
            "critical",
            "No interaction lies later than now and drops.max_future_hours: a wrong unit or zone.",
            "Correct the times, or the clock of this machine.",
            "interactions.timestamp",
        ),
        _check(
            "drop_not_before_the_history",
            "critical",
            "No interaction lies before the first one of the history: a late drop fills it.",
            "Correct the times; older data come in with the whole data (ingest.path).",
            "interactions.timestamp",
        ),
        _check(
            "drop_follows_the_history",
            "warning",
            "Between the newest interaction of the history and the first of the drop lie few days: no drop is missing.",
            "Append the drop in between as well, in whatever order; or raise drops.max_gap_days.",
            "interactions.timestamp",
        ),
        _check(
            "drop_not_too_large",
            "critical",
            "New interactions a day are not many times those of the history: other events, a robot.",
            "Look at what the export selects, or raise drops.max_volume_ratio.",
            "interactions",
        ),
        _check(
            "drop_not_too_small",
            "warning",
            "Interactions a day are not far fewer than those of the history: an export may have been cut off.",
            "Look whether the export is whole, or lower drops.min_volume_ratio.",
            "interactions",
        ),
        _check(
            "drop_items_are_known",
            "critical",
            "Items of the drop are described in the catalogue or in the drop: others have no text to be named by.",
            "Bring their rows of the item table in the drop, or raise drops.max_unknown_items.",
            "interactions.item_id",
        ),
        _check(
            "drop_items_spread_as_before",
            "critical",
            "Interactions are spread over best sellers and the rest as in the newest history (stability index).",
            "Look for a changed id, a filter or a robot; a season that is real needs a higher drops.max_shift.",
            "interactions.item_id",
        ),
        _check(
            "drop_not_of_one",
            "critical",
            "No single item or user has most of the drop: a robot, a test account, an id that stands for everybody.",
            "Take its rows out, or raise drops.max_repeats.",
            "interactions",
        ),
    )
}
"""docs/operations.md shows them to people."""


def measure(drop: Read, against: Against, settings: Drops) -> dict[str, Measured]:
    """Every check of `CHECKS`, measured; what a drop without interactions cannot answer is skipped."""
    table = drop.interactions
    others = ("brand", "categories", "description")
    found = {
        "drop_has_the_columns": _columns(drop, against),
        "drop_has_all_texts": _missing(_texts(drop, against, others)),
    }
    if table is None or table.is_empty():
        return found | {name: skipped(0.0, "the drop has no interactions") for name in CHECKS if name not in found}
    times = table["timestamp"]
    first, last = against.history.rows["timestamp"].min(), against.history.rows["timestamp"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)  # `merge` refused a history without times
    latest = against.now + timedelta(hours=settings.max_future_hours)
    found["drop_has_times"] = _rows(table, times.is_null())
    found["drop_not_from_the_future"] = _rows(table, times > latest)
    found["drop_not_before_the_history"] = _rows(table, times < first)
    if (begins := times.min()) is None:
        return found | {name: skipped(0.0, "no interaction has a time") for name in CHECKS if name not in found}
    assert isinstance(begins, datetime)
    gap = max(0.0, (begins - last).total_seconds() / _DAY_SECONDS)
    found["drop_follows_the_history"] = Measured(gap, settings.max_gap_days, said=f"{gap:.1f} days")
    found |= _volume(table, against, settings)
    found["drop_items_are_known"] = _unknown(drop, table, against, settings)
    found["drop_items_spread_as_before"] = _spread(table, against, settings)
    found["drop_not_of_one"] = _of_one(table, settings)
    return found


def _columns(drop: Read, against: Against) -> Measured:
    """Values of interactions, and titles."""
    missing = []
    if drop.interactions is not None:
        rows, new = against.history.rows, drop.interactions
        had = [name for name in VALUES if name in rows.columns and not _empty(rows[name])]
        # An empty column would correct what is known to nothing.
        missing += [
            f"interactions.{name}" for name in had if name not in new.columns or (new.height and _empty(new[name]))
        ]
    return _missing(missing + _texts(drop, against, ("title",)))


def _texts(drop: Read, against: Against, names: Sequence[str]) -> list[str]:
    """Text columns that the catalogue has filled and the drop has not."""
    if drop.items is None:
        return []
    had = [name for name in names if name in against.items.columns and not _empty(against.items[name])]
    return [f"items.{name}" for name in had if name not in drop.items.columns or _empty(drop.items[name])]


def _missing(names: Sequence[str]) -> Measured:
    said = f"missing: {', '.join(names)}" if names else None
    return Measured(len(names), 0, [{"column": name} for name in names], said=said)


def _empty(column: pl.Series) -> bool:
    filled = column.list.len() > 0 if isinstance(column.dtype, pl.List) else column.is_not_null()
    return not filled.fill_null(False).any()


def _rows(table: pl.DataFrame, broken: pl.Series) -> Measured:
    rows = table.filter(broken.fill_null(False))
    shown = rows.head(ROWS_SHOWN).with_columns(pl.col("timestamp").cast(pl.String)).to_dicts()
    return Measured(rows.height, 0, shown, count=rows.height, of=table.height, unit="interactions")


def _volume(table: pl.DataFrame, against: Against, settings: Drops) -> dict[str, Measured]:
    usual = against.history.rows.height / _days(against.history.rows["timestamp"])
    expected = usual * _days(table["timestamp"])
    ratio, whole = against.new / max(expected, _LEAST_EXPECTED), table.height / max(expected, 1e-9)
    said = f"{against.new:,} new of {table.height:,} interactions; {expected:,.0f} would be usual"
    few = Measured(whole, settings.min_volume_ratio, at_least=True, said=said)
    if expected < _LEAST_EXPECTED:
        few = skipped(settings.min_volume_ratio, "so short a time has hardly any interactions")
    return {
        "drop_not_too_large": Measured(ratio, settings.max_volume_ratio, said=said),
        "drop_not_too_small": few,
    }


def _days(times: pl.Series) -> int:
    """Days on which something happened: a few late rows of last year do not make a year of a drop."""
    return max(1, times.dt.date().n_unique())


def _unknown(drop: Read, table: pl.DataFrame, against: Against, settings: Drops) -> Measured:
    known = pl.concat([against.items["item_id"], *([drop.items["item_id"]] if drop.items is not None else [])])
    strange = table.filter(~pl.col("item_id").is_in(known.unique().implode()))
    rows = [{"item_id": item} for item in strange["item_id"].unique().sort().head(ROWS_SHOWN)]
    share = strange.height / table.height
    counted = {"count": strange.height, "of": table.height, "unit": "interactions"}
    return Measured(share, settings.max_unknown_items, rows, **counted)  # type: ignore[arg-type]


def _spread(table: pl.DataFrame, against: Against, settings: Drops) -> Measured:
    rows = against.history.rows
    if table.height < _FEWEST or rows.height < _FEWEST:
        return skipped(settings.max_shift, f"fewer than {_FEWEST} interactions say nothing of a distribution")
    recent = rows.sort("timestamp").tail(max(5000, _RECENT * table.height))["item"].to_numpy()
    counts = np.bincount(rows["item"].to_numpy(), minlength=len(against.history.items))
    buckets = popularity_buckets(counts)
    place = pl.DataFrame({"item_id": against.history.items, "bucket": buckets})
    theirs = table.join(place, on="item_id", how="inner")["bucket"].to_numpy()  # the unknown have a check of their own
    height = int(buckets.max()) + 1
    index = stability(np.bincount(buckets[recent], minlength=height), np.bincount(theirs, minlength=height))
    return Measured(index, settings.max_shift, said=f"over {height} groups of items by popularity")


def _of_one(table: pl.DataFrame, settings: Drops) -> Measured:
    if table.height < _FEWEST:
        return skipped(settings.max_repeats, f"fewer than {_FEWEST} interactions say nothing of a distribution")
    tops = [(name, table[name].value_counts(sort=True).row(0)) for name in ("item_id", "user_id")]
    name, (top, count) = max(tops, key=lambda each: each[1][1])
    rows: Sequence[dict[str, object]] = [{name: top, "interactions": count}]
    counted = {"count": count, "of": table.height, "unit": "interactions"}
    return Measured(count / table.height, settings.max_repeats, list(rows), **counted)  # type: ignore[arg-type]
