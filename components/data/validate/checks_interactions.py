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
    count = max(rows.height, 1)
    return {
        "records_accounted_for": _accounted_for(conservation),
        "interaction_ids_present": Measured(missing.height, 0, show(missing, interactions)),
        "enough_users": Measured(len(interactions.users), settings.min_users, at_least=True),
        "positions_contiguous": Measured(unordered.height, 0, show(unordered, interactions)),
        "items_in_catalogue": Measured(orphans.height / count, _MAX_UNKNOWN, show(orphans, interactions)),
        "no_orphans": Measured(orphans.height, 0, show(orphans, interactions)),
        "times_complete": _times_complete(interactions),
        "times_plausible": _times_plausible(interactions),
        "histories_long_enough": Measured(
            short.height / max(lengths.height, 1),
            _MAX_SHORT,
            short.head(ROWS_SHOWN)
            .select(user_id=pl.lit(interactions.users).gather("user"), interactions="len")
            .to_dicts(),
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
    return Measured(timeless.height / max(rows.height, 1), 0.0, show(timeless, interactions))


def _times_plausible(interactions: coded.Coded) -> Measured:
    rows = interactions.rows
    if rows["timestamp"].null_count() == rows.height:
        return skipped(0, "no interaction has a time")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    odd = rows.filter(~pl.col("timestamp").is_between(_EARLIEST, tomorrow))
    return Measured(odd.height, 0, show(odd, interactions))


def show(rows: pl.DataFrame, interactions: coded.Coded) -> list[dict[str, object]]:
    """The first rows as a person would look for them in the table: ids, position, time."""
    head = rows.head(ROWS_SHOWN)
    return head.select(
        user_id=pl.lit(interactions.users).gather("user"),
        item_id=pl.lit(interactions.items).gather("item"),
        position="position",
        timestamp=pl.col("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S"),
    ).to_dicts()
