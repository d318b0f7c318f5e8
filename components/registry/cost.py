"""What a training cost, from the figures that it sent to its MLflow run.

cost_of(client, run_id)        # {"seconds": 201.4, "cpu_seconds": 94.5, "peak_rss_mib": 1148.6}; {} where unknown
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.evaluation.contenders import COSTS
from components.registry.names import SYSTEM

if TYPE_CHECKING:
    from mlflow import MlflowClient


def cost_of(client: MlflowClient, run_id: str) -> dict[str, float]:
    """Kind of cost -> its sum over the phases of a training; of memory the largest. Empty where the run has none."""
    found: dict[str, list[float]] = {}
    for name, value in client.get_run(run_id).data.metrics.items():
        group, _, rest = name.removeprefix(f"{SYSTEM}/").partition("/")
        if name.startswith(f"{SYSTEM}/") and group in COSTS and rest:
            found.setdefault(group, []).append(value)
    return {kind: max(found[kind]) if kind.startswith("peak") else sum(found[kind]) for kind in COSTS if kind in found}


def in_words(cost: dict[str, float]) -> list[str]:
    """The same, a line a kind."""
    return [f"{COSTS[kind]}: {value:,.0f}" for kind, value in cost.items()]
