"""`idiom monitor` on a champion: quiet on more of the same, an event with its evidence where the shop has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from components.data.drops.store import Store
from components.monitoring import history
from components.settings.file import load
from components.storage.layout import Layout
from flows.drops import append_drop
from flows.monitor import EVENT, folder_of, monitor, resource_of
from tests.flows.champion import trained
from tests.workspaces import command, free_port, run_here, set_params

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion, and two weeks after its training: one as before, one in which all buy a few rare items."""
    root = trained(tmp_path_factory.mktemp("monitored"))
    set_params(root, {"drops": {"max_shift": 99.0, "max_gap_days": 365.0}})
    table = pl.read_parquet(Layout(root, "demo").interactions)
    last = table["timestamp"].max()
    same = table.filter(pl.col("timestamp") > last - pl.duration(days=90)).sample(300, seed=1)
    rare = table["item_id"].value_counts().sort("count", "item_id").head(15)["item_id"]
    for week, items in ((1, same["item_id"]), (3, pl.concat([rare] * 20))):
        moments = [last + pl.duration(days=7 * week) for _ in items]
        rows = pl.DataFrame({"user_id": same["user_id"], "item_id": items}).with_columns(
            timestamp=pl.lit(last) + pl.duration(days=7 * week - 6, minutes=pl.int_range(len(moments)) * 28)
        )
        path = root / f"week{week}.csv"
        rows.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(path)
        append_drop(root, load(root / "params.yaml"), str(path), print)
    assert len(Store.of(root, "demo").drops()) == 2
    run_here(root, "ingest")
    return root


def newest(root: Path) -> Any:
    return pl.read_parquet(Layout(root, "demo").interactions)["timestamp"].max()


def test_a_drift_is_sent_once_with_its_evidence(shop: Path) -> None:
    """Prevents: an event that nobody can check, one an hour for the same week, and an alarm in any week."""
    params, sent = load(shop / "params.yaml"), []
    ask = {"emit": lambda **event: sent.append(event), "say": print}
    quiet = monitor(shop, params, at=newest(shop) - timedelta(days=14), **ask)  # type: ignore[arg-type]
    assert quiet.record.events == 300 and "items" not in quiet.record.drifted, quiet.record
    loud = monitor(shop, params, at=None, **ask)  # type: ignore[arg-type]
    assert "items" in loud.record.drifted and loud.sent
    (event,) = [each for each in sent if each["payload"]["end"] == loud.record.end]
    assert event["event"] == EVENT == "idiom.drift"
    assert event["resource"]["prefect.resource.id"] == resource_of(params) == "idiom.model.idiom"
    assert event["payload"]["measures"]["items"]["value"] > params.monitor.max_items_shift
    count = len(sent)
    again = monitor(shop, params, at=None, **ask)  # type: ignore[arg-type]
    assert not again.sent and len(sent) == count and again.record.emitted
    kept = history.read(folder_of(shop, params))
    assert [each.end for each in kept] == [quiet.record.end, loud.record.end]
    assert "Drift: " in loud.page.read_text() and loud.record.measures["hits"]["value"] is not None


def test_the_flow_tells_a_real_server(shop: Path) -> None:
    """Prevents: an event that Prefect does not take, so that no automation sees it."""
    (folder_of(shop, load(shop / "params.yaml")) / history.HISTORY).unlink(missing_ok=True)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    home = {"PREFECT_HOME": str(shop / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
        env={**os.environ, **home}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while True:
            try:
                if httpx.get(f"{api}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                assert time.monotonic() < until
            time.sleep(0.5)
        done = command(shop, "idiom", "monitor", PREFECT_API_URL=api, **home)
        assert done.returncode == 0 and "sent     the event idiom.drift" in done.stdout, done.stdout + done.stderr
        asked = {"filter": {"event": {"name": [EVENT]}}}
        found: list[Any] = []
        while not found and time.monotonic() < until:
            found = httpx.post(f"{api}/events/filter", json=asked, timeout=10).json()["events"]
            time.sleep(0.5)
        (event,) = found
        assert event["resource"]["prefect.resource.id"] == "idiom.model.idiom"
        assert "items" in event["payload"]["drifted"]
    finally:
        server.terminate()
        server.wait(30)
