"""Measures of the interactions: ids, order, the join with the catalogue, and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from components.data.canonical import coded
from components.data.validate.checks import ROWS_SHOWN, Measured, skipped
from components.settings import params

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_MAX_UNKNOWN = 0.2
"""A fifth of the interactions lost in the join is no longer a gap in the catalogue but a broken join."""
_MAX_SHORT = 0.5


def measure(
    interactions: coded.Coded, catalogue: pl.Series, settings: params.Validate, conservation: Mapping[str, Any] | None
) -> dict[str, Measured]:
    """Measured checks of the suite `interactions`.

    `catalogue` holds the item ids of the catalogue, `conservation` what the report of `ingest` says of raw records
    (None: there is no such report).
    """
    rows = interactions.rows
    missing = rows.filter(pl.any_horizontal(pl.col("user", "item").is_null()))
    unordered = rows.filter(pl.col("position") != _expected_position())
    unknown = ~interactions.items.is_in(catalogue.implode())
    orphans = rows.drop_nulls("item").filter(pl.lit(unknown).gather("item"))
    lengths = rows.drop_nulls("user").group_by("user").len()
    short = lengths.filter(pl.col("len") < 3).sort("user")
    return {
        "records_accounted_for": _accounted_for(conservation),
        "interaction_ids_present": measured(missing, interactions, share=False),
        "enough_users": Measured(len(interactions.users), settings.min_users, at_least=True),
        "positions_contiguous": measured(unordered, interactions, share=False),
        "items_in_catalogue": measured(orphans, interactions, _MAX_UNKNOWN),
        "no_orphans": measured(orphans, interactions, share=False),
        "times_complete": _times_complete(interactions),
        "times_plausible": _times_plausible(interactions),
        "histories_long_enough": Measured(
            short.height / max(lengths.height, 1),
            _MAX_SHORT,
            short.head(ROWS_SHOWN)
            .select(user_id=pl.lit(interactions.users).gather("user"), interactions="len")
            .to_dicts(),
            count=short.height,
            of=lengths.height,
            unit="users",
        ),
    }


def _accounted_for(conservation: Mapping[str, Any] | None) -> Measured:
    """The share set aside unasked; 1 where the counts of a table do not meet."""
    if conservation is None:
        return skipped(0, "there is no report of `ingest` beside the tables")
    rows, meet = [], True
    for table in ("interactions", "items"):
        found = conservation[table]
        meet &= found["records"] == found["kept"] + sum(found["set_aside"].values())
        rows += [{"table": table, "row": row} for row in found["such_as"]]
    share = conservation["share_set_aside"] if meet else 1.0
    return Measured(share, conservation["max_set_aside_share"], rows[:ROWS_SHOWN])


def _expected_position() -> pl.Expr:
    """Row number within the user, as the rows are sorted by user and position."""
    return pl.int_range(pl.len(), dtype=pl.Int32).over("user")


def _times_complete(interactions: coded.Coded) -> Measured:
    rows = interactions.rows
    timeless = rows.filter(pl.col("timestamp").is_null())
    return measured(timeless, interactions)


def _times_plausible(interactions: coded.Coded) -> Measured:
    rows = interactions.rows
    if rows["timestamp"].null_count() == rows.height:
        return skipped(0, "no interaction has a time")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    odd = rows.filter(~pl.col("timestamp").is_between(_EARLIEST, tomorrow))
    return measured(odd, interactions, share=False)


def measured(
    broken: pl.DataFrame,
    known: coded.Coded,
    bound: float = 0.0,
    *,
    share: bool = True,
    of: int | None = None,
    unit: str = "interactions",
    said: str | None = None,
) -> Measured:
    """How many rows break a check, or which share; `of` all interactions unless it is said otherwise."""
    looked_at = known.rows.height if of is None else of
    observed = broken.height / max(looked_at, 1) if share else broken.height
    return Measured(observed, bound, show(broken, known), said=said, count=broken.height, of=looked_at, unit=unit)


def show(rows: pl.DataFrame, interactions: coded.Coded) -> list[dict[str, object]]:
    """The first rows as a person would look for them in the table: ids, position, time."""
    head = rows.head(ROWS_SHOWN)
    return head.select(
        user_id=pl.lit(interactions.users).gather("user"),
        item_id=pl.lit(interactions.items).gather("item"),
        position="position",
        timestamp=pl.col("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S"),
    ).to_dicts()
