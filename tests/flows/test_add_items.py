"""`idiom add-items`: recommendable at once, by the gate, and nothing that was there is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.data.drops.forgotten import FORGOTTEN, Forgotten
from components.data.drops.store import Store
from components.errors import BadInput
from components.ranking.load import load as load_recommender
from components.ranking.modes import Modes
from components.recommender.trie.append import append
from components.recommender.trie.trie import Trie
from components.registry.champion import champion_bundle
from components.registry.extension import extend
from components.settings.decoding import Decoding
from components.settings.file import load
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from flows.add_items import add_items, deleted_in
from flows.drops import append_drop
from flows.start import start_from
from tests.flows.champion import trained
from tests.workspaces import run_here, set_params

pytestmark = pytest.mark.slow
RANK = Decoding(mode="rank")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a champion."""
    return trained(tmp_path_factory.mktemp("added"))


@pytest.fixture(scope="module")
def bundle(shop: Path) -> Path:
    return Layout(shop, "demo").bundle


@pytest.fixture(scope="module")
def items(shop: Path) -> pl.DataFrame:
    return pl.read_parquet(Layout(shop, "demo").items_clean)


def like(items: pl.DataFrame, row: int, **changed: str) -> pl.DataFrame:
    """A new item with the texts of another one, and what is changed."""
    return pl.DataFrame([{**items.row(row, named=True), "item_id": "NEW", **changed}], schema=items.schema)


def modes(bundle: Path) -> Modes:
    found = load_recommender(bundle)
    assert isinstance(found, Modes)
    return found


def test_only_what_is_new_is_new(bundle: Path, items: pl.DataFrame, tmp_path: Path) -> None:
    """Prevents: another ID, number, title or score of an item that was there."""
    title = f"{items['title'][3]} zebra edition"
    done = extend(bundle, like(items, 3, text=f"title: {title}", title=title), tmp_path / "out")
    before, after = modes(bundle), modes(tmp_path / "out")
    old, new = before.catalogue.table, after.catalogue.table
    count = len(old)
    assert new.item_ids == (*old.item_ids, "NEW") and new.words[:count] == old.words
    assert new.token_ids[:count] == old.token_ids and new.words[count] == done.words["NEW"] not in old.words
    assert after.catalogue.titles == {**before.catalogue.titles, "NEW": title}
    histories, days = Ragged.of([[3, 17], [40]]), np.full(3, np.nan)
    for name, voice in before.ranker.reader.voices.items():
        longer = after.ranker.reader.voices[name].scores(histories, days)
        assert longer.shape == (2, count + 1)
        np.testing.assert_array_equal(longer[:, :count], voice.scores(histories, days))
    assert new.churn(old) == 0.0
    end = 1
    whole, grown = (
        Trie.build(new.token_ids, end_token=end),
        append(Trie.build(old.token_ids, end_token=end), new.token_ids[count:]),
    )
    assert whole.levels == grown.levels and bool((whole.columns == grown.columns).all())


def test_whose_history_is_textually_close_gets_the_new_item(bundle: Path, items: pl.DataFrame, tmp_path: Path) -> None:
    """Prevents: an item that is in the table and in nobody's list; one that comes first without a reason."""
    near, title = items["item_id"][3], f"{items['title'][3]} zebra edition"
    extend(bundle, like(items, 3, text=f"title: {title}", title=title), tmp_path / "out")
    model = modes(tmp_path / "out")
    text = model.ranker.reader.voices["text"]
    assert text.recommend([[near]], 1, Decoding())[0][0].item_id == "NEW"
    assert "NEW" in [each.item_id for each in model.recommend([[near]], 20, RANK)[0]]
    strength = text.scores(Ragged.of([[row] for row in range(60)]), np.full(60, np.nan))[:, -1]
    assert np.median(strength) < strength[3] / 2, "items of other kinds say less for it"
    read = model.recommend([["NEW"]], 10, RANK)[0]  # and whoever takes it is read
    assert near in [each.item_id for each in read]


def test_the_vector_of_a_new_item_is_that_of_one_that_was_there(bundle: Path, items: pl.DataFrame) -> None:
    """Prevents: features of new items counted or weighed in another way than those of the catalogue."""
    text = modes(bundle).ranker.reader.voices["text"]
    table = modes(bundle).catalogue.table
    row = table.row_of[items["item_id"][5]]
    columns = items[5:6].to_dict(as_series=False)
    mine, theirs = text.of_new(columns, 1).toarray()[0], text._vectors[0][[row]].toarray()[0]
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert mine.any()


def test_the_same_text_is_the_same_item(bundle: Path, items: pl.DataFrame, tmp_path: Path) -> None:
    """Prevents: two items that nobody can tell apart, of which one gets a number for a name."""
    done = extend(bundle, like(items, 7), tmp_path / "out")
    assert (done.words, done.aliases) == ({}, {"NEW": items["item_id"][7]})
    catalogue = modes(tmp_path / "out").catalogue
    assert catalogue.canonical(["NEW"]) == [items["item_id"][7]]
    with pytest.raises(BadInput, match="no item is new"):
        extend(bundle, items.head(3), tmp_path / "again")


def test_deleted_items_that_the_champion_has_are_counted(tmp_path: Path) -> None:
    """Prevents: a version made after a deletion that offers what was deleted, and nobody who says so."""
    store, record = Store.of(tmp_path, "demo"), Forgotten("00" * 32)
    pl.DataFrame({"item_id": ["a", "b"]}).write_parquet(tmp_path / "items.parquet")
    assert deleted_in(tmp_path, store) == 0
    entries = [{"kind": "item", "hash": record.hash_of("item", name)} for name in ("b", "elsewhere")]
    store.folder.mkdir(parents=True)
    record.with_entries(entries).write(store.folder / FORGOTTEN)
    assert deleted_in(tmp_path, store) == 1


def test_a_version_by_the_gate_and_the_drop_of_its_items(shop: Path, items: pl.DataFrame) -> None:
    """Prevents: new items that wait for a training, a champion that moved past the gate, items lost by the next run."""
    params, layout = load(shop / "params.yaml"), Layout(shop, "demo")
    one = pl.read_parquet(layout.items).filter(pl.col("item_id") == items["item_id"][9])
    title = f"{items['title'][9]} zebra edition"
    row = one.with_columns(item_id=pl.lit("NEW"), title=pl.lit(title)).select(
        "item_id", "title", "brand", "description"
    )
    row.write_csv(shop / "new.csv")
    done = add_items(shop, params, str(shop / "new.csv"), decides=True, say=print)
    assert done.promotion is not None and done.promotion.decision.accepted, done.promotion
    assert (done.promotion.champion, done.version) == ("1", "2")
    rules = {reason.rule: reason for reason in done.promotion.decision.reasons}
    assert "0.0% IDs changed" in rules["churn"].text and "champion" in rules and "served" in str(rules)
    served = modes(champion_bundle(shop, params))
    assert served.catalogue.titles["NEW"] == title
    assert read_json(champion_bundle(shop, params) / "params.json") == read_json(layout.bundle / "params.json")
    with pytest.raises(BadInput, match="no item is new"):
        add_items(shop, params, None, decides=True, say=print)
    run_here(shop, "ingest")
    assert "NEW" in pl.read_parquet(layout.items)["item_id"]
    _an_update_keeps_its_id(shop, row, title)


def _an_update_keeps_its_id(shop: Path, row: pl.DataFrame, title: str) -> None:
    """Prevents: an item with one name in the afternoon and another one in the morning; a nightly update that renames
    what is sold, or that has no name for what came since. NEW has its ID from add-items, NEWER from the update."""
    set_params(shop, {"drops": {"max_shift": 2.0}})  # a third of this drop is of two items
    params, layout = load(shop / "params.yaml"), Layout(shop, "demo")
    newer = row.with_columns(item_id=pl.lit("NEWER"), title=pl.lit(title.replace("zebra", "giraffe")))
    events = pl.read_parquet(layout.interactions)
    day = f"{events['timestamp'].max():%Y-%m-%d}"
    users = pl.read_parquet(layout.histories)["user_id"].head(40)
    others = events["item_id"].unique().sort().head(18)
    rows = [
        {"user_id": user, "item_id": item, "timestamp": f"{day}T23:{number:02d}:0{step}Z"}
        for number, user in enumerate(users)
        # Two more after it, which are held out.
        for step, item in enumerate([("NEW", "NEWER")[number % 2], others[number % 18], others[(number + 7) % 18]])
    ]
    (shop / "drop").mkdir()
    newer.write_csv(shop / "drop" / "items.csv")
    pl.DataFrame(rows).write_csv(shop / "drop" / "events.csv")
    append_drop(shop, params, str(shop / "drop"), print)
    before = IdTable.load(champion_bundle(shop, params) / "id_table.parquet")
    assert "version 2" in start_from(shop, "champion")
    run_here(shop, "ingest", "validate", "clean", "train", "index")
    after = IdTable.load(layout.id_table)
    assert after.churn(before) == 0.0 and "NEWER" not in before.item_ids
    words = dict(zip(after.item_ids, after.words, strict=True))
    assert words["NEW"] == dict(zip(before.item_ids, before.words, strict=True))["NEW"]
    assert words["NEWER"] and len({*after.words}) == len(after)
