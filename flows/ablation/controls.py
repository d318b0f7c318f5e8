"""Whether spoilt views lose: what an ablation says by itself of every variant with a control.

said(results, controlled)            # ["The real views are better than 'poster shuffled': ..."]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from components.evaluation.comparison.compare import values
from components.evaluation.comparison.paired import paired
from flows.ablation.table import Result


def said(results: Sequence[Result], controlled: Collection[str]) -> list[str]:
    """A line for each variant of `controlled` that was judged beside the first one, which has the real views: NDCG of
    the users, the mean of each over the seeds that both have."""
    first = next((each.variant for each in results), "")
    lines = []
    for name in dict.fromkeys(each.variant for each in results):
        if name not in controlled or name == first:
            continue
        real, spoilt = (_by_seed(results, variant) for variant in (first, name))
        seeds = sorted(real.keys() & spoilt.keys())
        if not seeds:
            continue
        means = [np.mean([each[seed] for seed in seeds], axis=0) for each in (real, spoilt)]
        found = paired(means[1], means[0], seed=seeds[0])
        k = next(each.k for each in results if each.metrics)
        about = f"{found.difference:+.4f} NDCG@{k}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
        if found.low > 0:
            lines.append(f"{first!r} is better than {name!r} ({about}): what is spoilt there says something.")
        else:
            word = "is WORSE than" if found.high < 0 else "cannot be told from"
            lines.append(f"{first!r} {word} {name!r} ({about}): no gain by what is spoilt there is real.")
    return lines


def _by_seed(results: Sequence[Result], variant: str) -> dict[int, np.ndarray]:
    """Seed -> [users] NDCG, masked; users in the order of the table, which is that of their ids."""
    import polars as pl

    found = {}
    for each in results:
        if each.variant == variant and each.per_user is not None:
            table = pl.read_parquet(each.per_user, columns=["user_id", "model_masked"]).sort("user_id")
            ranks = table["model_masked"].fill_null(0).to_numpy()  # null: not among the results
            found[each.seed] = values(ranks, each.k)[f"ndcg_at_{each.k}"]
    return found
