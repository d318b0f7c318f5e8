"""What a version cost: seconds of CPUs and GPUs, peak memory, an estimate of the energy; `system/cost/` in its run.

Each stage leaves what it cost in work/cost/DATASET/ (`python -m components` does it), with the digest of params.yaml: a
stage that DVC took from its cache has no figures of these settings, and is not counted. Seconds of GPUs are those that
training reported.

The energy is an estimate by `WATTS_PER_CORE` and `WATTS_PER_GPU` while they work: no meter is read, and memory, disks,
fans and idle time are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.contenders import COSTS
from components.pages.render import amount
from components.registry.names import SYSTEM
from components.storage.artifacts import publish_json, read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient

COST = f"{SYSTEM}/cost"
TAG = "idiom.cost"
"""Tag of a version: its cost in words, with the assumption."""
WATTS_PER_CORE = 10.0
"""Of a busy core of a server's CPU: 205 W over 20 cores."""
WATTS_PER_GPU = 500.0
"""Of a busy data-centre GPU, of 700 W at most."""
_GPU_SECONDS = f"{SYSTEM}/gpu_seconds/"
_ENERGY = "energy_wh"


def keep(layout: Layout, stage: str, figures: Mapping[str, float]) -> None:
    """Leave what a stage cost for `register`."""
    publish_json(_folder(layout) / f"{stage}.json", {"params": _settings(layout), **figures})


def log_cost(client: MlflowClient, run_id: str, layout: Layout) -> str:
    """Log what the stages of these settings cost; returns it in words, "" where nothing was measured here."""
    found = [read_json(path) for path in sorted(_folder(layout).glob("*.json"))]
    measured = [each for each in found if each["params"] == _settings(layout)]
    if not measured:
        return ""
    metrics = client.get_run(run_id).data.metrics
    figures = {
        "stages": float(len(measured)),
        "wall_seconds": sum(each["wall_seconds"] for each in measured),
        "cpu_seconds": sum(each["cpu_seconds"] for each in measured),
        "gpu_seconds": sum(value for name, value in metrics.items() if name.startswith(_GPU_SECONDS)),
        "peak_rss_mib": max(each["peak_rss_mib"] for each in measured),
    }
    figures[_ENERGY] = energy_wh(figures["cpu_seconds"], figures["gpu_seconds"])
    for name, value in figures.items():
        client.log_metric(run_id, f"{COST}/{name}", value)
    return (
        f"{figures['cpu_seconds']:,.0f} CPU s, {figures['gpu_seconds']:,.0f} GPU s, "
        f"{figures['peak_rss_mib']:,.0f} MiB at most, about {figures['energy_wh']:,.2g} Wh "
        f"(at {WATTS_PER_CORE:g} W a core and {WATTS_PER_GPU:g} W a GPU), {len(measured)} stages measured"
    )


def energy_wh(cpu_seconds: float, gpu_seconds: float) -> float:
    """Watt hours by the assumption of this module."""
    return (cpu_seconds * WATTS_PER_CORE + gpu_seconds * WATTS_PER_GPU) / 3600


def log_promoted(client: MlflowClient, run_id: str, gain: float) -> None:
    """Log what a point (0.01) of the deciding metric cost that a promoted version has beyond the champion before it."""
    metrics = client.get_run(run_id).data.metrics
    if gain > 0 and f"{COST}/cpu_seconds" in metrics:
        for name in ("cpu_seconds", "gpu_seconds", "energy_wh"):
            client.log_metric(run_id, f"{COST}/{name}_per_promoted_point", metrics[f"{COST}/{name}"] / (100 * gain))


def log_scored(client: MlflowClient, run_id: str, users: int, figures: Mapping[str, float]) -> None:
    """Log what scoring 1,000 users with a version cost."""
    scale = 1000 / users
    values = {"wall_seconds": figures["wall_seconds"], "cpu_seconds": figures["cpu_seconds"]}
    values["energy_wh"] = energy_wh(figures["cpu_seconds"], 0.0)
    for name, value in values.items():
        client.log_metric(run_id, f"{COST}/{name}_per_1000_users_scored", value * scale)


def cost_of(client: MlflowClient, run_id: str) -> dict[str, float]:
    """Kind of cost -> its sum over the phases of a training, of memory the largest; energy, and what a promoted point
    and a thousand scored users cost. Empty where the run has none."""
    found: dict[str, list[float]] = {}
    for name, value in client.get_run(run_id).data.metrics.items():
        group, _, rest = name.removeprefix(f"{SYSTEM}/").partition("/")
        if name.startswith(f"{COST}/") and (rest == _ENERGY or "_per_" in rest):
            found[rest] = [value]
        elif name.startswith(f"{SYSTEM}/") and group in COSTS and rest:
            found.setdefault(group, []).append(value)
    return {kind: max(found[kind]) if kind.startswith("peak") else sum(found[kind]) for kind in COSTS if kind in found}


def in_words(cost: dict[str, float]) -> list[str]:
    """The same, a line a kind."""
    return [f"{COSTS[kind]}: {amount(value)}" for kind, value in cost.items()]


def _settings(layout: Layout) -> str:
    """Digest of the settings that the stages ran with."""
    return sha256(layout.workspace / "params.yaml")


def _folder(layout: Layout) -> Path:
    return layout.workspace / "work" / "cost" / layout.dataset
