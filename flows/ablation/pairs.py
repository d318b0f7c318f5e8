"""Two variants of a grid, user by user: the ranks of the targets of those whom both were judged by.

    found = pair(results, "no views", "words")       # found.of_one, found.of_other: [seeds, users]; found.left_out

Variants that read words of views have texts of their own, so that `clean` may merge other items and drop other users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flows.ablation.table import Result


@dataclass(frozen=True)
class Pair:
    """Ranks of the same users in two variants, over the seeds that both have; users are sorted by id."""

    seeds: list[int]
    of_one: np.ndarray
    """[seeds, users] masked ranks; 0: the target is not among the results."""
    of_other: np.ndarray
    counts: np.ndarray
    """[users] training interactions of the target, in the first of the two variants."""
    left_out: int
    """Users that not all of these results have."""


def pair(results: Sequence[Result], one: str, other: str) -> Pair | None:
    """The two variants on their common users; None where they have no seed or no user in common."""
    import polars as pl

    tables = [
        {each.seed: each.per_user for each in results if each.variant == name and each.per_user is not None}
        for name in (one, other)
    ]
    seeds = sorted(tables[0].keys() & tables[1].keys())
    if not seeds:
        return None
    columns = ["user_id", "target_count", "model_masked"]
    read = [pl.read_parquet(table[seed], columns=columns) for table in tables for seed in seeds]
    shared = read[0].select("user_id", "target_count")
    for number, table in enumerate(read):
        rank = pl.col("model_masked").fill_null(0).alias(f"rank_{number}")  # null: not among the results
        shared = shared.join(table.select("user_id", rank), on="user_id")
    if shared.is_empty():
        return None
    shared = shared.sort("user_id")
    ranks = shared.select(pl.col("^rank_.*$")).to_numpy().T
    everybody = pl.concat([table["user_id"] for table in read]).n_unique()
    counts = shared["target_count"].to_numpy()
    return Pair(seeds, ranks[: len(seeds)], ranks[len(seeds) :], counts, everybody - shared.height)
