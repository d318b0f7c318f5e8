"""`idiom monitor` on a champion: quiet on more of the same, an event with its evidence where the shop has changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from components.data.canonical.coded import Coded
from components.data.drops.merging import coded_with
from components.data.drops.store import Store
from components.monitoring import history
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation
from components.settings.decoding import Decoding
from components.settings.file import from_dict, load
from components.storage.layout import Layout
from components.textid.table.id_table import IdTable
from flows.drops import append_drop
from flows.events import DRIFT, resource
from flows.monitor import _hits, folder_of, monitor
from tests.flows.champion import trained
from tests.workspaces import command, run_here, set_params

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


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


class Told:
    """A champion that names A and B to everybody; B came under the id B2 as well."""

    def __init__(self, *, drop_repeats: bool) -> None:
        table = IdTable(("A", "B", "C"), ("a", "b", "c"), ((1,), (2,), (3,)))
        self.catalogue = Catalogue(table, aliases={"B2": "B"}, drop_repeats=drop_repeats)

    def recommend(self, histories: Any, k: int, decoding: Any, times: Any = None) -> list[list[Recommendation]]:
        assert times == [[EPOCH.timestamp()]] * len(histories), "voices that know days are asked as in the evaluation"
        return [[Recommendation(item, item, 0.0) for item in ("A", "B")] for _ in histories]


@pytest.mark.parametrize(("drop_repeats", "asked", "now"), [(True, 2, 1.0), (False, 3, 2 / 3)])
def test_hits_are_counted_as_the_evaluation_counts_them(drop_repeats: bool, asked: int, now: float) -> None:
    """Prevents: a false alarm in a shop where people take things again, or under another id of the same item."""
    rows = [("u", "C", 0), ("u", "C", 5), ("u", "B2", 6), ("v", "C", 0), ("v", "B2", 5), ("w", "A", 0), ("w", "A", 5)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "day"], orient="row")
    users, items = (table[name].unique().sort() for name in ("user_id", "item_id"))
    times = (pl.lit(EPOCH) + pl.duration(days="day")).dt.cast_time_unit("us")
    coded = coded_with(table, users, items).with_columns(timestamp=times, position=pl.int_range(pl.len()))
    side: Any = SimpleNamespace(protocol={"headline_k": 10}, users=pl.DataFrame({"rank": [1, 0]}))
    start, end = EPOCH + timedelta(days=1), EPOCH + timedelta(days=9)
    model: Any = Told(drop_repeats=drop_repeats)
    found = _hits(model, Decoding(), side, Coded(coded, users, items), start, end, from_dict({}))
    assert (found.asked, found.now, found.before) == (asked, now, 0.5)


@pytest.mark.slow
@pytest.mark.server
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
