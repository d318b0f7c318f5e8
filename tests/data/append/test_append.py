"""Drops of new data: what comes in is what would have been read at once; what is bad changes nothing."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.errors import BadInput, GateRefused
from components.settings.operating import Drops
from components.storage.artifacts import read_json
from tests.data.append.shop import ITEMS, NOW, PARAMS, START, Event, Shop, csv, events, items

ALL = events()
OLD, NEW = ALL[:1000], ALL[1000:]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, OLD)


def test_drops_in_any_order_give_the_tables_of_one_reading(tmp_path: Path) -> None:
    """Prevents: a late drop that lands at the end of its users, and a table that depends on the day a drop came."""
    whole = Shop(tmp_path / "whole", ALL).tables()
    late, middle = ALL[200:260], ALL[700:]  # one in the middle of the history, the others at its end
    history = ALL[:200] + ALL[260:700]
    drops = {"late": late, "first": middle[:200], "second": middle[200:]}
    for order in (tuple(drops), ("second", "late", "first")):
        shop = Shop(tmp_path / "-".join(order), history)
        for name in order:
            done = shop.append(drops[name], f"{name}.csv")
            assert done.kept and done.counts["added"] == len(drops[name])
        report = shop.ingest()
        assert report["drops"]["kept"] == len(ALL) == report["interactions"]["interactions"]
        for table, expected in zip(shop.tables(), whole, strict=True):
            assert table.equals(expected)


def test_the_same_drop_twice_changes_nothing(shop: Shop) -> None:
    """Prevents: a drop that is sent again counting double, under its name or another, before or after the next run."""
    assert shop.append(NEW).kept
    once = shop.state()
    assert not shop.append(NEW).kept
    assert not shop.append(NEW, "another name.csv").kept
    assert shop.state() == once
    shop.ingest()
    again = shop.state()
    shuffled = shop.append(NEW[::-1], "sorted otherwise.csv")  # other bytes, the same events
    assert not shuffled.kept and shuffled.counts["already_there"] == len(NEW)
    assert shop.state() == again


def test_an_export_of_everything_brings_only_what_is_new(shop: Shop) -> None:
    """Prevents: a cumulative export refused as too large, or its known part counted twice."""
    done = shop.append(ALL)
    assert (done.counts["added"], done.counts["already_there"]) == (len(NEW), len(OLD))
    shop.ingest()
    assert shop.tables()[0].height == len(ALL)


def test_a_correction_replaces_what_it_corrects_in_its_place(shop: Shop) -> None:
    """Prevents: a corrected rating beside the wrong one, an interaction that moves, an older drop that wins."""
    before = shop.tables()[0]
    wrong = OLD[500]
    place = pl.col("timestamp") == datetime.fromisoformat(wrong["timestamp"])
    for rating in (9.0, 7.0):
        done = shop.append([{**wrong, "rating": rating}], f"{rating}.csv")
        assert (done.counts["corrected"], done.counts["added"]) == (1, 0)
    assert shop.ingest()["drops"]["replaced"] == 1
    after = shop.tables()[0]
    assert after.filter(place)["rating"].to_list() == [7.0]
    assert after.drop("rating").equals(before.drop("rating"))


def test_a_folder_brings_items_too_and_their_rows_replace_the_old_ones(shop: Shop, tmp_path: Path) -> None:
    """Prevents: a new item without text, and a renamed item that keeps its old name."""
    from tests.data.append.shop import csv

    new = [{**NEW[0], "item_id": "P99"}]
    csv(new, tmp_path / "folder" / "monday.csv")
    csv([{"item_id": "P99", "title": "New", "brand": "Z"}, {"item_id": "P03", "title": "Renamed", "brand": "Z"}],
        tmp_path / "folder" / "catalogue-monday.csv")  # fmt: skip
    done = shop.take(str(tmp_path / "folder"))
    assert (done.counts["items_added"], done.counts["items_corrected"], done.counts["added"]) == (1, 1, 1)
    shop.ingest()
    titles = dict(shop.tables()[1].select("item_id", "title").iter_rows())
    assert titles["P99"] == "New" and titles["P03"] == "Renamed" and titles["P04"] == "Thing P04"


def test_a_drop_comes_by_url(shop: Shop, tmp_path: Path) -> None:
    """Prevents: a store of objects whose drops have to be downloaded by hand."""
    from tests.data.append.shop import csv

    csv(NEW, tmp_path / "store" / "2024" / "drop.csv")
    assert shop.take((tmp_path / "store").as_uri()).counts["added"] == len(NEW)
    with pytest.raises(BadInput, match="cannot be fetched"):
        shop.take("nosuchscheme://bucket/drop.csv")


def _without(name: str) -> Callable[[list[Event]], list[Event]]:
    return lambda rows: [{key: value for key, value in row.items() if key != name} for row in rows]


def _with(**changed: Any) -> Callable[[list[Event]], list[Event]]:
    return lambda rows: [{**row, **changed} for row in rows]


def _many(rows: list[Event]) -> list[Event]:
    begin = datetime.fromisoformat(rows[0]["timestamp"])
    times = [(begin + timedelta(seconds=10 * number)).isoformat() for number in range(4000)]
    return [{**rows[number % len(rows)], "timestamp": time} for number, time in enumerate(times)]


BAD: dict[str, Callable[[list[Event]], list[Event]]] = {
    "drop_has_the_columns": _without("rating"),
    "drop_not_from_the_future": lambda rows: [*rows, {**rows[0], "timestamp": (NOW + timedelta(days=3)).isoformat()}],
    "drop_not_before_the_history": lambda rows: [*rows, {**rows[0], "timestamp": "1999-01-01T00:00:00Z"}],
    "drop_not_too_large": _many,
    "drop_items_are_known": lambda rows: [{**row, "item_id": f"X{row['item_id']}"} for row in rows],
    "drop_items_spread_as_before": lambda rows: [
        {**row, "item_id": ITEMS[-1 - number % 20]} for number, row in enumerate(rows)
    ],
    "drop_not_of_one": _with(user_id="robot"),
}


@pytest.mark.parametrize("check", BAD)
def test_a_bad_drop_is_quarantined_whole_and_the_good_state_stays(shop: Shop, check: str) -> None:
    """Prevents: half of a bad drop in the history; a refusal that does not say why, or that loses the file."""
    before = shop.state()
    with pytest.raises(GateRefused, match=check):
        shop.append(BAD[check](NEW))
    assert shop.state() == before and not shop.store.drops()
    (place,) = shop.store.quarantine.iterdir()
    assert read_json(place / "report.json")["critical_failures"] == [check]
    assert (place / "drop" / "drop.csv").read_bytes() == (shop.root / "came" / "drop.csv").read_bytes()
    assert check.replace("_", " ").capitalize() in (place / "report.html").read_text()
    assert shop.append(NEW, "good.csv").kept  # nothing stands in the way of the next one


def test_thresholds_decide(tmp_path: Path) -> None:
    """Prevents: a setting that nothing reads."""
    from dataclasses import replace

    patient = replace(PARAMS, drops=Drops(max_unknown_items=1.0))
    shop = Shop(tmp_path, OLD, patient)
    done = shop.append(BAD["drop_items_are_known"](NEW))
    assert done.counts["added"] == len(NEW)


@pytest.mark.parametrize("content", ["user_id,item_id,timestamp\nu1,P01\n", "what,is,this\n1,2,3\n"])
def test_what_cannot_be_read_is_quarantined_too(shop: Shop, tmp_path: Path, content: str) -> None:
    """Prevents: a truncated file that is refused and then lost on the other side."""
    (tmp_path / "broken.csv").write_text(content)
    before = shop.state()
    with pytest.raises(BadInput, match="it lies in"):
        shop.take(str(tmp_path / "broken.csv"))
    assert shop.state() == before
    (place,) = shop.store.quarantine.iterdir()
    assert (place / "drop" / "broken.csv").read_text() == content
    assert read_json(place / "report.json")["error"]["exit_code"] == 2


def test_a_refusal_names_a_file_that_is_there(shop: Shop, tmp_path: Path) -> None:
    """Prevents: an error that points into a temporary folder, which is gone when somebody reads it."""
    path = tmp_path / "drop.csv.gz"
    path.write_bytes(gzip.compress(csv(NEW, tmp_path / "drop.csv").read_bytes())[:500])
    with pytest.raises(BadInput) as caught:
        shop.take(str(path))
    assert Path(caught.value.where).is_file() and Path(caught.value.where).is_relative_to(shop.store.quarantine)


def test_an_empty_column_corrects_nothing(shop: Shop) -> None:
    """Prevents: ratings that an export without them takes away from all that is known."""
    with pytest.raises(GateRefused, match=r"interactions\.rating"):
        shop.append([{**row, "rating": None} for row in NEW])


def test_a_missing_time_is_never_guessed(shop: Shop) -> None:
    """Prevents: a drop without times put at the end of the histories."""
    with pytest.raises(BadInput, match="order"):
        shop.append(_without("timestamp")(NEW))


KILLED = """
import os, signal, sys
from pathlib import Path
import components.storage.artifacts as artifacts
from components.data.append import append as module
from tests.data.append.shop import NOW, PARAMS
from components.data.drops.store import Store
from components.storage.layout import Layout
root, when = Path(sys.argv[1]), sys.argv[2]
whole = artifacts._fsync_tree
def die(path):
    if path.is_dir():
        if when == "half":
            next(path.iterdir()).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path)
artifacts._fsync_tree = die
module.append(PARAMS, Layout(root, "shop"), Store.of(root, "shop"), str(root / "came/drop.csv"), now=NOW, by="x")
"""


@pytest.mark.slow
def test_killed_in_the_middle_leaves_the_old_state(shop: Shop) -> None:
    """Prevents: half of a drop after kill -9. It is killed at the worst moment: written, not yet renamed."""
    from tests.data.append.shop import csv

    csv(NEW, shop.root / "came" / "drop.csv")
    before = shop.tables()[0]
    for when in ("whole", "half"):
        done = subprocess.run([sys.executable, "-c", KILLED, str(shop.root), when], env={**os.environ}, check=False)
        assert done.returncode == -signal.SIGKILL
        assert shop.store.drops() == [] and list(shop.store.folder.glob(".*.tmp"))
        with shop.store.alone():
            assert not list(shop.store.folder.iterdir()), "what was left half done would be versioned"
        shop.ingest()
        assert shop.tables()[0].equals(before)
    assert shop.append(NEW).kept
    shop.ingest()
    assert shop.tables()[0].height == len(ALL)


def test_the_account_meets_the_records_of_the_file(shop: Shop) -> None:
    """Prevents: records that are neither added nor named."""
    rows = [*NEW, NEW[0], OLD[3], {**OLD[4], "rating": 8.0}]
    done = shop.append(rows)
    counts, account = done.counts, done.counts["tables"]["interactions"]
    assert account["records"] == len(rows) == account["kept"]
    parts = [counts[name] for name in ("added", "corrected", "already_there", "superseded")]
    assert parts == [len(NEW), 1, 1, 1] and sum(parts) == len(rows)
    assert "200 added, 1 corrected, 1 already there, 1 twice in the drop, 0 set aside" in done.lines[0]


def test_the_history_needs_times(tmp_path: Path) -> None:
    """Prevents: a drop merged into a history whose order is not that of its times."""
    positions = [{**row, "position": number} for number, row in enumerate(OLD[::-1])]
    shop = Shop(tmp_path, positions)
    with pytest.raises(BadInput, match="go back in time"):
        shop.append(NEW)
    assert START < NOW and items()


def test_as_if_it_were_an_earlier_day(tmp_path: Path) -> None:
    """Prevents: a backfill that sees what came after its day, in the raw data or in a drop."""
    from dataclasses import replace

    whole = Shop(tmp_path / "whole", OLD)
    whole.append(NEW)
    until = replace(PARAMS, ingest=replace(PARAMS.ingest, until="2024-02-15"))
    shop = Shop(tmp_path / "whole", OLD, until)  # the same folder: raw data, drop and all
    interactions, _ = shop.tables()
    expected = [row for row in ALL if row["timestamp"] < "2024-02-16"]
    assert interactions.height == len(expected) < len(OLD)
    assert interactions["timestamp"].max() == datetime.fromisoformat(expected[-1]["timestamp"])
    assert interactions.group_by("user_id").agg(pl.col("position").max() + 1 == pl.len())["position"].all()
    assert read_json(shop.layout.ingest_report)["until"] == {"day": "2024-02-15", "left_out": len(ALL) - len(expected)}
