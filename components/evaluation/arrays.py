"""The test cases of an evaluation as arrays: prompts, targets and training sequences, items as positions.

An item's position is its row in items_clean.parquet, whose order `clean` draws: a tie broken by position says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from components.errors import BadInput
from components.sampling import hash_sample
from components.storage.ragged import Ragged

_TIME = pl.Datetime("us", "UTC")
_DAY = 86_400.0
UNKNOWN = np.iinfo(np.int64).min
"""A time that is not known."""


@dataclass(frozen=True)
class Times:
    """When things happened, in microseconds since 1970 UTC (int64), or `UNKNOWN`."""

    train: Ragged
    """Of each item in `Cases.train`."""
    prompts: Ragged
    """Of each item in `Cases.prompts`."""
    targets: np.ndarray
    """[users] of the target."""


@dataclass(frozen=True)
class Cases:
    """What is evaluated: one case a user, sorted by user id. Items are positions in `item_ids`."""

    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    train: Ragged
    """What the model was allowed to learn from: one sequence per user of the training data, sampled or not."""
    prompts: Ragged
    """What it is shown: training history + context, oldest first."""
    targets: np.ndarray
    """[users] the one item that counts as a hit."""
    refit: bool = False
    """Whether `train` holds the validation items too, as the model was built once more with them."""
    all_users: int = 0
    """Test users, those included that were not sampled."""
    also: Ragged | None = None
    """Per user further items as right as the target, at whose time they are (`clean.ties: set`)."""
    trained: np.ndarray | None = None
    """[users] how many items of the prompt, from its beginning, the model was trained on."""
    times: Times | None = None
    """None where the tables have no times."""
    core: int = 0
    """Least interactions of an item in the k-core (`clean.min_item_interactions`); 0: not known."""

    @cached_property
    def train_days(self) -> np.ndarray:
        """[events of `train`] days since 1970 (UTC), NaN where the time is not known."""
        return _days(self.train, self.times.train if self.times else None)

    @cached_property
    def prompt_days(self) -> np.ndarray:
        """[events of `prompts`] likewise; NaN for a whole prompt of which one time is not known, as in `prompt_times`:
        between a known day and an unknown one nothing can be counted."""
        days = _days(self.prompts, self.times.prompts if self.times else None)
        unknown = np.bincount(self.prompts.owners, np.isnan(days), minlength=len(self.prompts)) > 0
        return np.where(unknown[self.prompts.owners], np.nan, days)

    def prompt_times(self) -> list[list[float] | None]:
        """Seconds since 1970 of the items of `prompt_ids`; None for a prompt whose times are not all known."""
        if self.times is None:
            return [None] * len(self.prompts)
        rows = (row.tolist() for row in Ragged(self.prompts.offsets, self.prompt_days * _DAY))
        return [None if any(math.isnan(time) for time in row) else row for row in rows]

    @cached_property
    def counts(self) -> np.ndarray:
        """[items] how often each item occurs in training; never in validation or test."""
        return np.bincount(self.train.values, minlength=len(self.item_ids))

    def prompt_ids(self) -> list[list[str]]:
        """Prompts as item ids, for the recommender."""
        return [[self.item_ids[item] for item in prompt] for prompt in self.prompts]

    def right(self, user: int) -> list[int]:
        """The items that count as a hit for user number `user`."""
        return [int(self.targets[user]), *(self.also.row(user).tolist() if self.also is not None else ())]

    def some(self, users: np.ndarray) -> Cases:
        """The cases of some users, by number; what there is to learn from stays whole."""
        return replace(
            self,
            user_ids=tuple(self.user_ids[user] for user in users),
            prompts=self.prompts.take(users),
            targets=self.targets[users],
            also=self.also.take(users) if self.also is not None else None,
            trained=self.trained[users] if self.trained is not None else None,
            times=self.times
            and replace(self.times, prompts=self.times.prompts.take(users), targets=self.times.targets[users]),
        )


def cases(
    items: pl.DataFrame,
    histories: pl.DataFrame,
    valid: pl.DataFrame,
    test: pl.DataFrame,
    *,
    refit: bool = False,
    max_users: int = 0,
    seed: int = 0,
    core: int = 0,
) -> Cases:
    """Arrays from `items` (item_id), `histories` (user_id, history), `valid` and `test` (user_id, context, target).

    Where they have times (timestamps; context_timestamps, timestamp) and further right items (also), these are taken
    too. refit: validation items are training data too (the model was built once more with them). max_users: keep so
    many test users, chosen by a hash of seed and user id (0: all); the training data stays whole.
    Raises `BadInput` for no test user, a test user without history, or an item outside the catalogue.
    """
    if test.is_empty():
        raise BadInput("there are no test targets", where="test_targets.parquet", mend="check the split in `clean`")
    item_ids = pl.Enum(items["item_id"])
    histories, valid, test = _timed(histories, valid, test)
    train = histories.select("user_id", sequence="history", times="timestamps")
    if refit:
        there = pl.col("target").is_not_null().cast(pl.UInt32)
        parts = {"sequence": ("context", "target"), "times": ("context_timestamps", "timestamp")}
        train = train.join(valid, on="user_id", how="left").select(
            "user_id",
            *(
                pl.concat_list(name, pl.col(between).fill_null([]), pl.concat_list(last).list.head(there))
                for name, (between, last) in parts.items()
            ),
        )
    train = train.sort("user_id")
    asked = _sample(test, max_users, seed).join(histories, on="user_id", how="left").sort("user_id")
    if asked["history"].null_count():
        user = asked.filter(pl.col("history").is_null())["user_id"][0]
        raise BadInput(
            f"test user {user!r} has no history", where="histories.parquet", mend="run the stage `clean` again"
        )
    learned = train.select("user_id", trained=pl.col("sequence").list.len())
    where = "test_targets.parquet"
    return Cases(
        item_ids=tuple(item_ids.categories),
        user_ids=tuple(asked["user_id"]),
        train=_ragged(train["sequence"], item_ids, "histories.parquet"),
        prompts=_ragged(asked.select(pl.concat_list("history", "context")).to_series(), item_ids, where),
        targets=_positions(asked["target"], item_ids, where),
        refit=refit,
        all_users=len(test),
        also=_ragged(asked["also"], item_ids, where) if asked["also"].list.len().sum() else None,
        trained=asked.join(learned, on="user_id", how="left", maintain_order="left")["trained"].to_numpy(),
        times=_times(train["times"], asked),
        core=core,
    )


def overlaid(tables: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The three tables of `clean` under the other order of ties: `other` holds the users for whom it is another one."""
    users = other["histories"]["user_id"].implode()
    return {
        name: pl.concat([table.filter(~pl.col("user_id").is_in(users)), other[name].select(table.columns)])
        for name, table in tables.items()
    }


def _timed(histories: pl.DataFrame, valid: pl.DataFrame, test: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    """The tables with all columns: a list of times as long as its list of items, null where a time is not known."""
    targets = [
        table.with_columns(
            _column(table, "context_timestamps", pl.List(_TIME)),
            _column(table, "timestamp", _TIME),
            _column(table, "also", pl.List(pl.String)).fill_null([]),
        ).with_columns(_as_long("context_timestamps", "context"))
        for table in (valid, test)
    ]
    past = histories.with_columns(_column(histories, "timestamps", pl.List(_TIME)))
    return past.with_columns(_as_long("timestamps", "history")), *targets


def _column(table: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    return pl.col(name) if name in table.columns else pl.lit(None, kind).alias(name)


def _as_long(times: str, items: str) -> pl.Expr:
    unknown = pl.lit(None, _TIME).repeat_by(pl.col(items).list.len())
    return pl.when(pl.col(times).is_null()).then(unknown).otherwise(times).alias(times)


def _times(train: pl.Series, asked: pl.DataFrame) -> Times | None:
    if asked["timestamp"].null_count() == len(asked):
        return None
    prompts = asked.select(pl.concat_list("timestamps", "context_timestamps")).to_series()
    return Times(_moments(train), _moments(prompts), _microseconds(asked["timestamp"]))


def _days(items: Ragged, times: Ragged | None) -> np.ndarray:
    if times is None:
        return np.full(len(items.values), np.nan)
    return np.where(times.values == UNKNOWN, np.nan, times.values / (_DAY * 1e6))


def _moments(lists: pl.Series) -> Ragged:
    return Ragged.cut(_microseconds(lists.filter(lists.list.len() > 0).explode()), lists.list.len().to_numpy())


def _microseconds(times: pl.Series) -> np.ndarray:
    return times.dt.epoch("us").fill_null(int(UNKNOWN)).to_numpy().astype(np.int64)


def _sample(test: pl.DataFrame, max_users: int, seed: int) -> pl.DataFrame:
    if not max_users or max_users >= len(test):
        return test
    users = test["user_id"].to_list()
    chosen = [users[at] for at in hash_sample(users, max_users, f"{seed}:")]
    return test.filter(pl.col("user_id").is_in(chosen))


def _ragged(lists: pl.Series, item_ids: pl.Enum, where: str) -> Ragged:
    lengths = lists.list.len().to_numpy()
    values = lists.filter(lists.list.len() > 0).explode()
    return Ragged.cut(_positions(values, item_ids, where), lengths)


def _positions(ids: pl.Series, item_ids: pl.Enum, where: str) -> np.ndarray:
    found = ids.cast(item_ids, strict=False)
    if found.null_count():
        unknown = ids.filter(found.is_null())[0]
        raise BadInput(
            f"item {unknown!r} is not in the catalogue ({found.null_count()} such places)",
            where=where,
            mend="items and histories must come from the same run of `clean`",
        )
    return found.to_physical().to_numpy().astype(np.int64)
