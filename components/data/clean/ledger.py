"""Counts of removed rows, users and items by reason, after every step of cleaning; they always add up."""

from __future__ import annotations

from typing import Any

import polars as pl


class Ledger:
    """Removed rows, users and items by reason: the differences between one step and the next."""

    def __init__(self, *, interactions: int, users: int, items: int) -> None:
        self._now = {"interactions": interactions, "users": users, "items": items}
        self._in = dict(self._now)
        self._removed: dict[str, dict[str, int]] = {kind: {} for kind in self._now}

    def step(self, reason: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Book what `rows` [user, item, ...] lacks against the step before under `reason`; return `rows`."""
        self.book(reason, interactions=rows.height, users=rows["user"].n_unique(), items=rows["item"].n_unique())
        return rows

    def book(self, reason: str, **now: int) -> None:
        """Book the counts `now` of some kinds under `reason`."""
        for kind, count in now.items():
            if removed := self._now[kind] - count:
                self._removed[kind][reason] = self._removed[kind].get(reason, 0) + removed
            self._now[kind] = count

    def report(self) -> dict[str, Any]:
        """Per kind: in, removed by reason, kept; in = kept + the sum of removed."""
        return {
            kind: {"in": self._in[kind], "removed": self._removed[kind], "kept": self._now[kind]} for kind in self._now
        }

    def __str__(self) -> str:
        parts = (f"{reason} {count:,}" for reason, count in self._removed["interactions"].items())
        return f"{self._in['interactions']:,} interactions; removed: {', '.join(parts) or 'none'}"
