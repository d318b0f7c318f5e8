"""What the acceptance of the gate breaks on purpose is broken in that way, and in no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.acceptance import leak, shuffle_ids
from components.recommender.catalogue import Catalogue
from components.registry.bundle import assemble
from components.registry.evidence import of_bundle
from components.storage.artifacts import publishing
from components.storage.manifest import sha256, verify_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build as build_voice
from tests.registry.workspace import build


def test_shuffled_ids_keep_every_rule_but_are_other_items(tmp_path: Path) -> None:
    """Prevents an acceptance whose shuffled table is refused for a broken manifest, and a measure that misses it."""
    layout, params = build(tmp_path)
    table = IdTable.load(layout.id_table)
    build_voice("popularity", Learned(Catalogue(table), Ragged.of([[0, 1]]))).save(layout.hybrid)
    layout.mode.write_text("{}")
    honest = of_bundle(assemble(layout, params), None, metric="ndcg_at_5", contract=False)
    shuffle_ids(layout, seed=1)
    verify_manifest(layout.pair)
    shuffled = IdTable.load(layout.id_table)
    assert shuffled.item_ids == table.item_ids and sorted(shuffled.words) == sorted(table.words)
    found = of_bundle(assemble(layout, params), None, metric="ndcg_at_5", contract=False)
    # "words of" stands in every text here, and the item's own name in one.
    assert honest["own_words"] == 1.0 and found["own_words"] < 0.9
    assert honest["own_words_by_chance"] < 0.9 and honest["other_tables"] == []


def test_a_leak_is_a_target_in_the_history_and_another_table(tmp_path: Path) -> None:
    """Prevents an acceptance that refuses what holds no target, or breaks a table beside it."""
    layout, _ = build(tmp_path)
    users = ["u0", "u1", "u2"]
    histories, day = [["i0", "i1"], ["i2"], ["i3"]], datetime(2024, 1, 1, tzinfo=UTC)
    times = [[day] * len(history) for history in histories]
    before = pl.DataFrame({"user_id": users, "history": histories, "timestamps": times})
    for path, table in (
        (layout.histories, before),
        (layout.test_targets, pl.DataFrame({"user_id": ["u0", "u1"], "target": ["i5", "i6"]})),
    ):
        with publishing(path) as temporary:
            table.write_parquet(temporary)
    honest = sha256(layout.histories)
    leak(layout)
    leaked = pl.read_parquet(layout.histories)
    assert leaked["history"].to_list() == [["i0", "i5", "i1"], ["i6", "i2"], ["i3"]]
    assert leaked["timestamps"].list.len().to_list() == [3, 2, 1] and leaked.columns == before.columns
    assert sha256(layout.histories) != honest
