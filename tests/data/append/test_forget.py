"""A deletion is honoured everywhere, stays honoured, and its record names nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from components.data.append.forget import Forgot, forget, ids_in
from components.data.drops.forgotten import FORGOTTEN, Kind
from components.errors import BadInput
from components.storage.artifacts import read_json
from tests.data.append.shop import NOW, Shop, csv, events

ALL = events()
OLD, NEW = ALL[:1000], ALL[1000:]
HIS = [row for row in ALL if row["user_id"] == "u07"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path, OLD)
    made.append(NEW)
    made.ingest()
    return made


def ask(shop: Shop, kind: Kind, *ids: str) -> Forgot:
    return forget(shop.layout, shop.store, kind, ids, now=NOW, by="ada")


def test_a_user_is_gone_from_tables_and_drops_and_from_later_drops(shop: Shop) -> None:
    """Prevents: a deleted user who comes back with the raw data or with the next drop."""
    ask(shop, "user", "u07")
    report = shop.ingest()
    assert report["drops"]["forgotten"]["interactions"] == sum(row["user_id"] == "u07" for row in OLD)
    later = [{**HIS[0], "timestamp": "2024-05-01T00:00:00Z"}, {**NEW[0], "user_id": "u08", "item_id": "P01"}]
    done = shop.append(later, "later.csv")
    assert done.counts["tables"]["interactions"]["set_aside"] == {"forgotten": 1}
    shop.ingest()
    interactions, _ = shop.tables()
    assert "u07" not in interactions["user_id"]
    assert interactions.height == len(ALL) - len(HIS) + 1
    # The raw data are the user's own and stay; nothing that Idiom keeps has the id.
    for path in shop.store.folder.rglob("*"):
        if path.is_file():
            assert b"u07" not in path.read_bytes(), path


def test_an_item_is_gone_from_both_tables(shop: Shop) -> None:
    """Prevents: a withdrawn product that stays in the catalogue, or comes back without text by an interaction."""
    ask(shop, "item", "P00")
    shop.ingest()
    interactions, items = shop.tables()
    assert "P00" not in items["item_id"] and "P00" not in interactions["item_id"]
    assert interactions.height == sum(row["item_id"] != "P00" for row in ALL)
    assert interactions["position"].max() < 60


def test_a_deleted_item_is_no_tail_of_another_ones_relation(shop: Shop) -> None:
    """Prevents: the id of a withdrawn product in relations, whose tails may be words of texts and IDs."""
    csv([{"head": "P01", "relation": "like", "tail": tail} for tail in ("P00", "P02")], shop.raw / "kg.csv")
    shop.params = replace(shop.params, ingest=replace(shop.params.ingest, relations="kg.csv"))
    ask(shop, "item", "P00")
    report = shop.ingest()
    assert pl.read_parquet(shop.layout.relations)["tail"].to_list() == ["P02"]
    assert report["conservation"]["relations"]["set_aside"] == {"forgotten": 1}


def test_the_record_says_who_and_when_and_what_and_not_whom(shop: Shop) -> None:
    """Prevents: a deletion that nobody can show, or a list of deleted ids in clear."""
    assert ask(shop, "user", "u07", "nobody").new == 2
    text = (shop.store.folder / FORGOTTEN).read_text()
    record = read_json(shop.store.folder / FORGOTTEN)
    assert "u07" not in text and "nobody" not in text
    first, second = record["entries"]
    assert (first["kind"], first["by"], first["at"]) == ("user", "ada", "2024-06-01 00:00:00")
    in_drops = sum(row["user_id"] == "u07" for row in NEW)
    assert first["removed"] == {"interactions": len(HIS), "rows_of_drops": in_drops}
    assert second["removed"] == {"interactions": 0, "rows_of_drops": 0}
    assert len(first["hash"]) == 64 and first["hash"] != second["hash"]


def test_asked_again_nothing_changes(shop: Shop) -> None:
    """Prevents: a second record, with another hash, of the same deletion."""
    ask(shop, "user", "u07")
    before = shop.state()
    assert ask(shop, "user", "u07").new == 0
    assert shop.state() == before
    assert not shop.append(NEW).kept, "its drop is still known as the same"


def test_a_file_of_ids(tmp_path: Path) -> None:
    """Prevents: an empty file taken for everybody or for nobody in silence."""
    path = tmp_path / "ids.txt"
    path.write_text("u01\n\n u02 \n")
    assert ids_in(path) == ["u01", "u02"]
    path.write_text("u01\nu02\n", encoding="utf-8-sig")
    assert ids_in(path) == ["u01", "u02"], "the mark of an editor is no part of an id"
    path.write_text("\n")
    with pytest.raises(BadInput, match="names no id"):
        ids_in(path)


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import components.storage.artifacts as artifacts
from components.data.append.forget import forget
from components.data.drops.store import Store
from components.storage.layout import Layout
from tests.data.append.shop import NOW
artifacts._swap_directories = lambda new, old: os.kill(os.getpid(), signal.SIGKILL)
root = Path(sys.argv[1])
forget(Layout(root, "shop"), Store.of(root, "shop"), "user", ["u07"], now=NOW, by="x")
"""


@pytest.mark.slow
def test_killed_in_the_middle_nothing_is_deleted_yet(shop: Shop) -> None:
    """Prevents: a user who is gone from one drop and not from the next, without a record."""
    before = shop.state()
    done = subprocess.run([sys.executable, "-c", KILLED, str(shop.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    with shop.store.alone():
        assert shop.state() == before
        assert [path.name for path in shop.store.folder.parent.iterdir()] == ["shop"]
    assert ask(shop, "user", "u07").new == 1
