"""headline.json: the few figures that decide, for `dvc metrics show`, `dvc metrics diff` and `dvc exp show`.

metrics.json has all of them, a hundred and more, which no table of a terminal holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.evaluation.contenders import HEADLINE, MODEL

DIGITS = 4


def headline_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Recall and NDCG at the headline cut-off, and the model minus each baseline, with the 95 % interval of each.

    Numbers only and no lists, which DVC would leave out: `recall_at_10`, `recall_at_10_low`, `recall_at_10_high`; and
    under `over_popularity`, ... the same names for the difference, user by user.
    """
    protocol = metrics["protocol"]
    names = [f"{name}_at_{protocol['headline_k']}" for name in HEADLINE]
    own, intervals = metrics[protocol["headline"]][MODEL], metrics["intervals"][MODEL]
    return {
        **_figures({name: (own[name], intervals[name]) for name in names}),
        **{
            f"over_{who}": _figures({name: (gain[name]["difference"], gain[name]["interval"]) for name in names})
            for who, gain in metrics["against"].items()
        },
    }


def _figures(found: Mapping[str, tuple[float, tuple[float, float]]]) -> dict[str, float]:
    return {
        f"{name}{end}": round(value, DIGITS) + 0.0
        for name, (mean, (low, high)) in found.items()
        for end, value in (("", mean), ("_low", low), ("_high", high))
    }
