"""The side of an older model on the users of a newer evaluation: asked anew, never its old figures.

champion = rescored(recommender, decoding, like=challenger, name="version 11")
champion, challenger, taught = without_taught(champion, challenger, old)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from components.errors import GateRefused
from components.evaluation.comparison.sides import Side
from components.progress import Progress
from components.recommender.interface import Recommender
from components.settings.decoding import Decoding


def rescored(
    recommender: Recommender, decoding: Decoding, *, like: Side, name: str, progress: Progress | None = None
) -> Side:
    """What `recommender` answers to the prompts of `like`, with its own decoding but masked as `like` was.

    Items that it does not know are skipped in histories, and a target that it does not know is one that it misses.
    Raises `GateRefused` for a list that no honest decoder can give.
    """
    masked = like.headline == "masked"
    prompts = like.users["prompt"].to_list()
    times = like.users["times"].to_list()
    answers = recommender.recommend(prompts, like.depth, replace(decoding, mask_seen=masked), progress, times)
    lists = [[each.item_id for each in answer] for answer in answers]
    for user, row, prompt in zip(like.users["user_id"], lists, prompts, strict=True):
        if len(set(row)) < len(row) or len(row) > like.depth or (masked and not set(row).isdisjoint(prompt)):
            raise GateRefused(
                "the recommender gave an item twice, a seen one, or too many",
                where=f"{name}, user {user!r}",
                mend="its ID table and its weights do not belong together: train and register it again",
            )
    targets = like.users["target"].to_list()
    ranks = [row.index(target) + 1 if target in row else 0 for row, target in zip(lists, targets, strict=True)]
    users = like.users.with_columns(
        pl.Series("rank", ranks, dtype=pl.Int64), pl.Series("recommended", lists, dtype=pl.List(pl.String))
    )
    catalogue = recommender.catalogue
    titles = {**like.titles, **{item: title for item, title in catalogue.titles.items() if title}}
    return replace(
        like, name=name, users=users, baselines={}, titles=titles, words=catalogue.words, facts={}, voices={}
    )


def without_taught(sides: Sequence[Side], old: Side | None) -> tuple[list[Side], int]:
    """(`sides` without the users whose target an older model may have been taught, how many these are).

    old: the older model's own evaluation; what it was shown there, validation items included, is what it may have been
    taught. A target counts as taught where the old sequence goes on beyond the new prompt and holds it there. Users
    that the old evaluation does not know are new, or were not sampled: nothing of them is left out.
    """
    if old is None:
        return list(sides), 0
    joined = (
        sides[0]
        .users.select("user_id", "target", "prompt")
        .join(old.users.select("user_id", seen="prompt"), on="user_id", how="inner")
    )
    taught = [
        row["user_id"]
        for row in joined.iter_rows(named=True)
        if row["target"] in row["seen"][_common(row["prompt"], row["seen"]) :]
    ]
    kept = [replace(side, users=side.users.filter(~pl.col("user_id").is_in(taught))) for side in sides]
    return kept, len(taught)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the common beginning."""
    size = min(len(a), len(b))
    different = np.flatnonzero([x != y for x, y in zip(a[:size], b[:size], strict=True)])
    return int(different[0]) if len(different) else size
