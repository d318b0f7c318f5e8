"""What a window knows: events by day, cut into a base and windows; nothing of a later day is in what a row is given.

timeline = Timeline.of(shop, seed=17, asked=1000)
timeline.cases(2)                # the events that are asked in window 2
timeline.tables(2, folder)       # what a training may read that is ready when window 2 begins
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shop import Shop
from components.sampling import hash_sample
from components.storage.ragged import Ragged

BASE, SHARE, WINDOWS = 0.6, 0.1, 4
"""Shares of the events: before window 1, and in each window. Window 0 is the last tenth before window 1."""
DORMANT_DAYS = 180
_DAY = 86_400.0 * 1e6


@dataclass(frozen=True)
class Timeline:
    """Who took what on which day, users in rows, oldest first."""

    items: pl.DataFrame
    users: tuple[str, ...]
    sequences: Ragged
    """Item numbers: rows of `items`."""
    days: np.ndarray
    """[events] days since 1970."""
    seed: int = 0
    asked: int = 0
    """Events asked in a window, drawn by a hash (0: all)."""

    @classmethod
    def of(cls, shop: Shop, *, seed: int, asked: int) -> Timeline:
        all_of_it = shop.cases(refit=True, on="test", max_users=0, seed=0)
        assert all_of_it.times is not None, "global time takes times"
        rows = [
            [*prompt.tolist(), int(last)] for prompt, last in zip(all_of_it.prompts, all_of_it.targets, strict=True)
        ]
        ends = all_of_it.times.targets
        times = [[*prompt.tolist(), int(end)] for prompt, end in zip(all_of_it.times.prompts, ends, strict=True)]
        timed = [at for at, each in enumerate(times) if min(each) >= 0]
        days = np.floor(np.array([time for at in timed for time in times[at]]) / _DAY)
        users = tuple(all_of_it.user_ids[at] for at in timed)
        return cls(shop.items, users, Ragged.of([rows[at] for at in timed]), days, seed, asked)

    @cached_property
    def cuts(self) -> np.ndarray:
        """[windows + 2] first day of each window, window 0 among them, and the day after the last."""
        ordered = np.sort(self.days)
        shares = [BASE + SHARE * (window - 1) for window in range(WINDOWS + 1)]
        return np.array([*(ordered[round(share * len(ordered))] for share in shares), ordered[-1] + 1])

    @cached_property
    def first_day(self) -> np.ndarray:
        """[items] the day of its first event; infinity for an item without one."""
        found = np.full(len(self.items), np.inf)
        np.minimum.at(found, self.sequences.values, self.days)
        return found

    def cases(self, window: int) -> np.ndarray:
        """Places in `sequences` of the events that are asked in a window."""
        start, end = self.cuts[window : window + 2]
        places = np.flatnonzero((self.days >= start) & (self.days < end))
        if 0 < self.asked < len(places):
            owners = self.sequences.owners[places]
            names = [f"{self.users[user]}/{place}" for user, place in zip(owners, places, strict=True)]
            places = places[np.sort(hash_sample(names, self.asked, f"{self.seed}/{window}/"))]
        return places

    def kinds(self, window: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Of the cases of a window: users, those that are a user's last one, and slices, as numbers of cases."""
        places, cut = self.cases(window), self.cuts[window]
        owners, begins = self.sequences.owners[places], self.sequences.starts_of(places)
        before = [self.days[a:b][self.days[a:b] < cut] for a, b in zip(begins, places, strict=True)]
        newest = np.array([each[-1] if len(each) else np.nan for each in before])
        last = np.append(owners[1:] != owners[:-1], True)
        slices = {
            "new_items": self.first_day[self.sequences.values[places]] >= cut,
            "new_users": np.isnan(newest),
            "dormant_users": newest < cut - DORMANT_DAYS,
        }
        slices["all_others"] = ~np.any(list(slices.values()), axis=0)
        return owners, np.flatnonzero(last), {name: np.flatnonzero(mask) for name, mask in slices.items()}

    def listed(self, window: int) -> np.ndarray:
        """Numbers of the items that the shop lists in a window, rising: those bought until it ends."""
        return np.flatnonzero(self.first_day < self.cuts[window + 1])

    def known(self, window: int) -> tuple[list[str], list[list[int]], list[np.ndarray]]:
        """(user, items, days) of all events before a window."""
        users, rows, days = [], [], []
        for row, user in enumerate(self.users):
            some = self.days[self.sequences.offsets[row] : self.sequences.offsets[row + 1]]
            if count := int((some < self.cuts[window]).sum()):
                users.append(user)
                rows.append(self.sequences.row(row)[:count].tolist())
                days.append(some[:count])
        return users, rows, days

    def tables(self, window: int, folder: Path) -> Path:
        """The tables of a training that is ready for a window: listed items, earlier events, and no targets."""
        if not (folder / "valid_targets.parquet").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self.items[self.listed(window)].write_parquet(folder / "items.parquet")
            users, rows, _ = self.known(window)
            ids = self.items["item_id"].to_list()
            lists = [[ids[item] for item in row] for row in rows]
            pq.write_table(pa.table({"user_id": users, "history": lists}), folder / "histories.parquet")
            text = pa.array([], pa.string())
            none = {"user_id": text, "context": pa.array([], pa.list_(pa.string())), "target": text}
            pq.write_table(pa.table(none), folder / "valid_targets.parquet")
        return folder
