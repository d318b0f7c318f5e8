"""What a version cost, in its run, in its tags and by thousand users."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.evaluation.contenders import COSTS
from components.processes.cost import Meter
from components.registry import cost
from components.registry.register import register
from components.registry.store import connect
from tests.registry.workspace import build


def test_a_meter_counts_what_it_started() -> None:
    """Prevents: a training by ranks that seems to cost nothing, as its processes are other ones."""
    meter = Meter()
    busy = "import time\nend = time.process_time() + 0.3\nx = bytearray(1 << 26)\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    found = meter.figures()
    assert 0.3 <= found["cpu_seconds"] < 3 and found["wall_seconds"] >= 0.3 and found["peak_rss_mib"] > 64


def test_the_cost_of_a_version(workspace: Path) -> None:
    """Prevents: the cost of other settings, or that of a stage of yesterday, said of this model."""
    layout, params = build(workspace)
    (workspace / "params.yaml").write_text("dataset: other\n")
    cost.keep(layout, "train", {"wall_seconds": 9999.0, "cpu_seconds": 9999.0, "peak_rss_mib": 9999.0})
    cost.keep(layout, "clean", {"wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_rss_mib": 1.0})
    (workspace / "params.yaml").write_text("dataset: demo\n")
    cost.keep(layout, "train", {"wall_seconds": 100.0, "cpu_seconds": 180.0, "peak_rss_mib": 500.0})
    cost.keep(layout, "index", {"wall_seconds": 10.0, "cpu_seconds": 20.0, "peak_rss_mib": 600.0})
    made = register(params, layout)
    client = connect(workspace)
    version = client.get_model_version("idiom", str(made["version"]))
    metrics = client.get_run(version.run_id).data.metrics
    found = {name.removeprefix(f"{cost.COST}/"): value for name, value in metrics.items() if cost.COST in name}
    expected = {"stages": 2, "wall_seconds": 110, "cpu_seconds": 200, "gpu_seconds": 0, "peak_rss_mib": 600}
    assert found == pytest.approx(expected | {"energy_wh": 200 * 10 / 3600})
    assert version.tags[cost.TAG].startswith("200 CPU s, 0 GPU s, 600 MiB at most, about 0.56 Wh (at 10 W a core and")

    cost.log_promoted(client, version.run_id, 0.02)
    cost.log_scored(client, version.run_id, 500, {"wall_seconds": 3.0, "cpu_seconds": 5.0, "peak_rss_mib": 1.0})
    metrics = client.get_run(version.run_id).data.metrics
    assert metrics[f"{cost.COST}/cpu_seconds_per_promoted_point"] == pytest.approx(100)
    assert metrics[f"{cost.COST}/cpu_seconds_per_1000_users_scored"] == pytest.approx(10)
    # A page says them too, beside what the training cost.
    said = cost.in_words(cost.cost_of(client, version.run_id))
    assert said[0] == "Wh of all stages, an estimate: 0.56"
    assert "CPU seconds for a point (.01) beyond the champion before: 100" in said
    assert said[-1] == "Wh of scoring 1,000 users, an estimate: 0.028"
    assert len(said) == 7 and set(cost.cost_of(client, version.run_id)) < set(COSTS)


def test_nothing_measured_is_not_nothing_spent(workspace: Path) -> None:
    """Prevents: a pulled model that is said to have cost nothing."""
    layout, params = build(workspace)
    (workspace / "params.yaml").write_text(json.dumps({"dataset": "demo"}))
    version = connect(workspace).get_model_version("idiom", str(register(params, layout)["version"]))
    assert cost.TAG not in version.tags
    assert not [name for name in connect(workspace).get_run(version.run_id).data.metrics if cost.COST in name]
