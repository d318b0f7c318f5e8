"""headline.json: the four figures that decide, for `dvc metrics show`, `dvc metrics diff` and `dvc exp show`.

metrics.json has all of them, with intervals and each baseline: a hundred and more, which no table of a terminal holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.evaluation.contenders import HEADLINE, MODEL

DIGITS = 4


def headline_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Recall and NDCG at the headline cut-off; and `over_baseline`, the NDCG of the model minus that of the
    baseline that it beats by least, with the lower end of its 95 % interval, user by user.

    Numbers only and no lists, which DVC would leave out; names that are the same for every data set, so that DVC
    compares them.
    """
    protocol = metrics["protocol"]
    names = [f"{name}_at_{protocol['headline_k']}" for name in HEADLINE]
    own = metrics[protocol["headline"]][MODEL]
    best = min((gains[names[-1]] for gains in metrics["against"].values()), key=lambda gain: gain["difference"])
    figures = {name: own[name] for name in names}
    figures |= {"over_baseline": best["difference"], "over_baseline_low": best["interval"][0]}
    return {name: round(value, DIGITS) + 0.0 for name, value in figures.items()}
