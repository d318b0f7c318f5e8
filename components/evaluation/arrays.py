"""The test cases of an evaluation as arrays: prompts, targets and training sequences, items as positions.

An item's position is its row in items_clean.parquet, whose order `clean` draws: a tie broken by position says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from components.errors import BadInput
from components.sampling import hash_sample
from components.storage.ragged import Ragged


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

    @cached_property
    def counts(self) -> np.ndarray:
        """[items] how often each item occurs in training; never in validation or test."""
        return np.bincount(self.train.values, minlength=len(self.item_ids))

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

    refit: validation items are training data too (the model was built once more with them). max_users: keep so many
    test users, chosen by a hash of seed and user id (0: all); the training data stays whole.
    Raises `BadInput` for no test user, a test user without history, or an item outside the catalogue.
    """
    if test.is_empty():
        raise BadInput("there are no test targets", where="test_targets.parquet", mend="check the split in `clean`")
    item_ids = pl.Enum(items["item_id"])
    train = histories.select("user_id", sequence="history")
    if refit:
        train = (
            train.join(valid, on="user_id", how="left")
            .with_columns(pl.col("context").fill_null([]), newest=pl.concat_list("target").list.drop_nulls())
            .select("user_id", sequence=pl.concat_list("sequence", "context", "newest"))
        )
    asked = _sample(test, max_users, seed).join(histories, on="user_id", how="left").sort("user_id")
    if asked["history"].null_count():
        user = asked.filter(pl.col("history").is_null())["user_id"][0]
        raise BadInput(
            f"test user {user!r} has no history", where="histories.parquet", mend="run the stage `clean` again"
        )
    return Cases(
        item_ids=tuple(item_ids.categories),
        user_ids=tuple(asked["user_id"]),
        train=_ragged(train.sort("user_id")["sequence"], item_ids, "histories.parquet"),
        prompts=_ragged(
            asked.select(pl.concat_list("history", "context")).to_series(), item_ids, "test_targets.parquet"
        ),
        targets=_positions(asked["target"], item_ids, "test_targets.parquet"),
        refit=refit,
        all_users=len(test),
    )


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
