"""`idiom monitor` on a champion: quiet on more of the same, an event with its evidence where the shop has changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from components.data.drops.store import Store
from components.monitoring import history
from components.settings.file import load
from components.storage.layout import Layout
from flows.drops import append_drop
from flows.events import DRIFT, resource
from flows.monitor import folder_of, monitor
from tests.flows.champion import trained
from tests.workspaces import command, run_here, set_params

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


def test_a_drift_is_told_once_when_the_server_takes_it(
    shop: Path, prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: an alarm in any week, an event without evidence, one an hour for the same week, and a drift that is
    recorded as told though nobody was there, or the server refused it."""
    params, warned, began = load(shop / "params.yaml"), [], datetime.now(UTC)
    ask: dict[str, Any] = {"say": print, "warn": warned.append}
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    quiet = monitor(shop, params, at=newest(shop) - timedelta(days=14), **ask)
    assert quiet.record.events == 300 and "items" not in quiet.record.drifted, quiet.record
    nobody = monitor(shop, params, at=None, **ask)
    assert "items" in nobody.record.drifted and not nobody.sent and not nobody.record.emitted and not warned
    assert "Drift: " in nobody.page.read_text() and nobody.record.measures["hits"]["value"] is not None
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect_server.api}/elsewhere")
    with temporary_settings({PREFECT_API_URL: f"{prefect_server.api}/elsewhere"}):
        refused = monitor(shop, params, at=None, **ask)
    assert not refused.sent and not refused.record.emitted and "not told of idiom.drift" in warned.pop()

    # The program ends as soon as it has told: what a background thread had left to do would be lost.
    done = command(shop, "idiom", "monitor", **prefect_server.environment())
    assert done.returncode == 0 and "sent     the event idiom.drift" in done.stdout, done.stdout + done.stderr
    mine = {"event": {"name": [DRIFT]}, "occurred": {"since": f"{began:%Y-%m-%dT%H:%M:%SZ}"}}
    found: list[Any] = []

    def arrived() -> bool:
        found[:] = prefect_server.post("/events/filter", filter=mine)["events"]
        return bool(found)

    prefect_server.wait_until(arrived, seconds=300)
    (event,) = found
    assert event["resource"] == resource("idiom") and event["payload"]["drifted"] == nobody.record.drifted
    assert event["payload"]["measures"]["items"]["value"] > params.monitor.max_items_shift
    again = command(shop, "idiom", "monitor", **prefect_server.environment())
    assert again.returncode == 0 and "sent" not in again.stdout and "note" not in again.stderr
    kept = history.read(folder_of(shop, params))
    assert [(each.end, each.emitted) for each in kept] == [(quiet.record.end, False), (nobody.record.end, True)]
