"""A version judged without a champion: its own value, the baselines of its evaluation, and whether it knew its targets.

evidence = alone(side, metric="ndcg", seed=17, drop_repeats=True, **of_bundle(bundle, None, metric="ndcg_at_10"))
decide(params.promote, evidence)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from components.evaluation.comparison.compare import values
from components.evaluation.comparison.paired import Paired, paired
from components.evaluation.comparison.sides import Side
from components.evaluation.gates import Evidence


def alone(side: Side, *, metric: str, seed: int, drop_repeats: bool, **of_bundle: Any) -> Evidence:
    """The evidence that needs no champion. metric: ndcg, recall or mrr. drop_repeats: whether people take an item once,
    so that a target in its user's history is a mistake. of_bundle: further fields of `Evidence`."""
    k = int(side.protocol["headline_k"])
    name = f"{metric}_at_{k}"
    in_history = pl.col("prompt").list.contains(pl.col("target"))
    return Evidence(
        name,
        users=len(side.users),
        value=float(values(side.users["rank"].to_numpy(), k)[name].mean()),
        baselines=against_baselines(side, side.users, name, k, seed),
        in_history=side.users.filter(in_history).height if drop_repeats else 0,
        **of_bundle,
    )


def against_baselines(side: Side, of: pl.DataFrame, metric: str, k: int, seed: int) -> dict[str, Paired]:
    """`side` minus each baseline of its evaluation, over the users `of` (`user_id`, `target`)."""
    users = of.select("user_id", "target")
    own = users.join(side.users.select("user_id", "rank"), on="user_id", how="left", maintain_order="left")["rank"]
    found = {}
    for name, table in side.baselines.items():
        rank = users.join(table, on=["user_id", "target"], how="left", maintain_order="left")["rank"].fill_null(0)
        a, b = (values(np.asarray(each), k)[metric] for each in (rank, own))
        found[name] = paired(a, b, seed=seed)
    return found
