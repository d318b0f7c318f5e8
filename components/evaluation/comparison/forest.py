"""Places of a forest plot: paired differences around zero, a row each, as shares of the width for an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components.pages.render import signed, whole


class Difference(Protocol):
    """A paired difference over `users` and the ends of its interval."""

    @property
    def users(self) -> int: ...
    @property
    def difference(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Row:
    """One difference. `kind` is its class in the stylesheet: better, worse, few or nothing."""

    label: str
    note: str
    kind: str
    found: Difference


def forest(rows: Sequence[Row], *, total: bool) -> dict[str, Any]:
    """`rows` with `at`, `low` and `high`, `zero` and `ticks`, in per cent of the width; the first row is the total.

    The axis holds zero and all whiskers but those of rows of the kind `few`, which may be cut at its ends.
    """
    wide = [row.found for row in rows if row.kind != "few"] or [row.found for row in rows]
    low, high = min(0.0, *(each.low for each in wide)), max(0.0, *(each.high for each in wide))
    room = (high - low) * 0.06 or 0.01
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    return {
        "total": total,
        "zero": place(0.0),
        "ticks": [{"at": place(value), "text": _text(value)} for value in ticks(low, high)],
        "rows": [
            {
                "label": row.label,
                "note": row.note,
                "kind": row.kind,
                "at": place(row.found.difference),
                "low": place(row.found.low),
                "high": place(row.found.high),
                "inside": low <= row.found.difference <= high,
                "difference": signed(row.found.difference),
                "text": f"{signed(row.found.difference)}, 95 % interval {signed(row.found.low)} to "
                f"{signed(row.found.high)}, {whole(row.found.users)} users",
                "users": row.found.users,
            }
            for row in rows
        ],
    }


def ticks(low: float, high: float) -> list[float]:
    """Round values inside an axis, zero among them where it lies there, at most five."""
    step = 10.0 ** math.floor(math.log10(high - low))
    for finer in (5.0, 2.0, 1.0, 0.5, 0.2):
        ticks = [n * step * finer for n in range(math.ceil(low / step / finer), math.floor(high / step / finer) + 1)]
        if 3 <= len(ticks) <= 5:
            return ticks
    return [0.0]


def _text(value: float) -> str:
    """+.005, without zeros at the end."""
    text = signed(value, 6).rstrip("0").rstrip(".")
    return text if text.strip("+−") else "0"
