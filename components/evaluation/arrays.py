"""The test cases of an evaluation as arrays: prompts, targets and training sequences, items as positions.

An item's position is its place among the sorted ids of the catalogue, so a tie broken by position is broken by item id.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from components.errors import BadInput
from components.sampling import hash_sample
from components.storage.ragged import Ragged

_DAY = 86_400.0
_TIME = pl.Datetime("us", "UTC")


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
    train_days: np.ndarray | None = None
    """[events of `train`] days since 1970 (UTC); NaN in a sequence with a time that is not known. None: no times."""
    prompt_days: np.ndarray | None = None
    """[events of `prompts`] likewise."""

    @cached_property
    def counts(self) -> np.ndarray:
        """[items] how often each item occurs in training; never in validation or test."""
        return np.bincount(self.train.values, minlength=len(self.item_ids))

    def prompt_times(self) -> list[list[float] | None]:
        """Seconds since 1970 of the items of `prompt_ids`; None for a prompt whose times are not known."""
        if self.prompt_days is None:
            return [None] * len(self.prompts)
        rows = (row.tolist() for row in Ragged(self.prompts.offsets, self.prompt_days * _DAY))
        return [None if any(math.isnan(time) for time in row) else row for row in rows]

    def prompt_ids(self) -> list[list[str]]:
        """Prompts as item ids, for the recommender."""
        return [[self.item_ids[item] for item in prompt] for prompt in self.prompts]


def cases(
    items: pl.DataFrame,
    histories: pl.DataFrame,
    valid: pl.DataFrame,
    test: pl.DataFrame,
    *,
    refit: bool = False,
    max_users: int = 0,
    seed: int = 0,
) -> Cases:
    """Arrays from `items` (item_id), `histories` (user_id, history), `valid` and `test` (user_id, context, target).

    `histories` may have `timestamps`, the others `context_timestamps` and `target_timestamp`: then events have days.
    refit: validation items are training data too (the model was built once more with them). max_users: keep so many
    test users, chosen by a hash of seed and user id (0: all); the training data stays whole.
    Raises `BadInput` for no test user, a test user without history, or an item outside the catalogue.
    """
    if test.is_empty():
        raise BadInput("there are no test targets", where="test_targets.parquet", mend="check the split in `clean`")
    item_ids = pl.Enum(items["item_id"].sort())
    histories = _timed(histories, "history", "timestamps")
    valid, test = (_timed(frame, "context", "context_timestamps") for frame in (valid, test))
    train = histories.select("user_id", "history", "history_days")
    if refit:
        newest = pl.concat_list("target").list.drop_nulls()
        moment = _days(_column(valid, "target_timestamp", _TIME)).fill_null(math.nan)
        train = (
            train.join(valid.with_columns(target_day=moment), on="user_id", how="left")
            .with_columns(pl.col("context", "context_days").fill_null([]), newest=newest)
            .with_columns(newest_days=pl.concat_list("target_day").list.head(pl.col("newest").list.len()))
            .select(
                "user_id",
                history=pl.concat_list("history", "context", "newest"),
                history_days=pl.concat_list("history_days", "context_days", "newest_days"),
            )
        )
    train = train.sort("user_id")
    asked = _sample(test, max_users, seed).join(histories, on="user_id", how="left").sort("user_id")
    if asked["history"].null_count():
        user = asked.filter(pl.col("history").is_null())["user_id"][0]
        raise BadInput(
            f"test user {user!r} has no history", where="histories.parquet", mend="run the stage `clean` again"
        )
    return Cases(
        item_ids=tuple(item_ids.categories),
        user_ids=tuple(asked["user_id"]),
        train=_ragged(train["history"], item_ids, "histories.parquet"),
        prompts=_ragged(
            asked.select(pl.concat_list("history", "context")).to_series(), item_ids, "test_targets.parquet"
        ),
        targets=_positions(asked["target"], item_ids, "test_targets.parquet"),
        refit=refit,
        all_users=len(test),
        train_days=_flat(train["history_days"]),
        prompt_days=_flat(asked.select(pl.concat_list("history_days", "context_days")).to_series()),
    )


def _timed(frame: pl.DataFrame, items: str, times: str) -> pl.DataFrame:
    """`frame` with the list `ITEMS_days` beside the list `items`; NaN where the list `times` is null or missing."""
    known = _column(frame, times, pl.List(_TIME)).list.eval(_days(pl.element()))
    unknown = pl.col(items).list.eval(pl.element().is_null().cast(pl.Float64) + math.nan)
    return frame.with_columns(pl.coalesce(known, unknown).alias(f"{items}_days"))


def _column(frame: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    return pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind)


def _days(times: pl.Expr) -> pl.Expr:
    return times.dt.epoch("us") / (_DAY * 1e6)


def _flat(lists: pl.Series) -> np.ndarray:
    return lists.filter(lists.list.len() > 0).explode().to_numpy().astype(np.float64)


def _sample(test: pl.DataFrame, max_users: int, seed: int) -> pl.DataFrame:
    if not max_users or max_users >= len(test):
        return test
    users = test["user_id"].to_list()
    chosen = [users[at] for at in hash_sample(users, max_users, f"{seed}:")]
    return test.filter(pl.col("user_id").is_in(chosen))


def _ragged(lists: pl.Series, item_ids: pl.Enum, where: str) -> Ragged:
    lengths = lists.list.len().to_numpy()
    values = lists.filter(lists.list.len() > 0).explode()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return Ragged(offsets, _positions(values, item_ids, where))


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
