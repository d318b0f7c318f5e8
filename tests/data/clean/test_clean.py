"""The stage `clean` from canonical tables to its four outputs and the report."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.clean.clean import clean
from components.errors import BadInput, GateRefused
from components.settings import params
from components.storage.layout import Layout
from components.storage.manifest import sha256
from tests.data.tables_of import START, catalogue, events, interactions, shop, slow_k_core, workspace

LOOSE = params.Clean(min_user_interactions=3, min_item_interactions=1)


def _outputs(layout: Layout) -> list[Path]:
    return [layout.items_clean, layout.histories, layout.valid_targets, layout.test_targets, layout.aliases]


def _adds_up(report: dict[str, Any]) -> None:
    for kind in ("interactions", "users", "items"):
        counts = report[kind]
        assert counts["in"] == counts["kept"] + sum(counts["removed"].values()), kind
        assert all(removed > 0 for removed in counts["removed"].values()), kind


def test_one_small_shop_by_hand(tmp_path: Path) -> None:
    """Every step once: duplicate merged, repeat and orphan dropped, rare user dropped, texts cleaned, split right."""
    items = catalogue(
        {"a": "Soap &amp; <b>Water</b>", "b": "Brush", "c": "Soap & Water", "d": "Towel", "e": None, "z": "Unsold"}
    )
    bought = {"u1": "a b d c e", "u2": "c d b", "u3": "d gone b", "u4": "b a e d"}
    layout = workspace(tmp_path, items, interactions(events(bought)), passed=True)
    report = clean(LOOSE, 17, layout)
    # u1 loses c, which is a again; u3 loses an item that the catalogue lacks, and so falls below three.
    assert dict(pl.read_parquet(layout.histories).select("user_id", "history").iter_rows()) == {
        "u1": ["a", "b"],
        "u2": ["a"],
        "u4": ["b", "a"],
    }
    valid, test = (pl.read_parquet(path) for path in (layout.valid_targets, layout.test_targets))
    assert list(valid.select("user_id", "context", "target").iter_rows()) == [
        ("u1", [], "d"),
        ("u2", [], "d"),
        ("u4", [], "e"),
    ]
    assert list(test.select("user_id", "context", "target").iter_rows()) == [
        ("u1", ["d"], "e"),
        ("u2", ["d"], "b"),
        ("u4", ["e"], "d"),
    ]
    assert list(pl.read_parquet(layout.items_clean).select("item_id", "text").iter_rows()) == [
        ("a", "title: Soap & Water"),
        ("b", "title: Brush"),
        ("d", "title: Towel"),
        ("e", "item e"),
    ]
    assert report["interactions"] == {"in": 15, "removed": {"unknown_item": 1, "repeat": 1, "k_core": 2}, "kept": 11}
    assert report["users"] == {"in": 4, "removed": {"k_core": 1}, "kept": 3}
    assert report["items"] == {"in": 6, "removed": {"never_touched": 1, "merged_duplicate": 1}, "kept": 4}
    assert list(pl.read_parquet(layout.aliases).iter_rows()) == [("c", "a")]
    times = pl.read_parquet(layout.histories)["timestamps"].to_list()
    assert times[0] == [START, START + timedelta(days=1)]
    # u1's third purchase is its validation item, the fourth went with its twin, and the fifth is the test item.
    day = [START + timedelta(days=number) for number in range(5)]
    assert valid.row(0)[-2:] == ([], day[2]) and test.row(0)[-2:] == ([day[2]], day[4])


def test_a_context_without_a_time_has_no_times(tmp_path: Path) -> None:
    """Prevents a gap in a list of times that whoever counts days takes for a moment."""
    bought = events({"u1": "a b c d", "u2": "a b c d"})
    bought[2] = ("u1", "c", None)
    layout = workspace(tmp_path, catalogue(dict(zip("abcd", "wxyz", strict=True))), interactions(bought), passed=True)
    clean(LOOSE, 17, layout)
    test = pl.read_parquet(layout.test_targets)
    day = [START + timedelta(days=number) for number in range(4)]
    assert test["context_timestamps"].to_list() == [None, [day[2]]]
    assert test["timestamp"].to_list() == [day[3]] * 2


def test_aliases_name_the_ids_that_went_and_only_items_that_stay(tmp_path: Path) -> None:
    """Prevents a twin that production sends for ever and nobody knows, and aliases of what the k-core removed."""
    titles = {"a": "Soap", "b": "Brush", "c": "Soap", "d": "Towel", "e": "Soap", "x": "Rare", "y": "Rare"}
    bought = {"u1": "a b d", "u2": "c d b", "u3": "b e d y"}
    layout = workspace(tmp_path, catalogue(dict(titles)), interactions(events(bought)), passed=True)
    clean(params.Clean(min_user_interactions=3, min_item_interactions=2), 17, layout)
    assert list(pl.read_parquet(layout.aliases).iter_rows()) == [("c", "a"), ("e", "a")]
    clean(params.Clean(min_user_interactions=3, min_item_interactions=1, merge_duplicates=False), 17, layout)
    none = pl.read_parquet(layout.aliases)
    assert none.schema == {"item_id": pl.String, "kept_id": pl.String} and none.is_empty()


_SHOPS = st.dictionaries(
    st.sampled_from("pqrstuvw"),
    st.lists(st.tuples(st.sampled_from("abcdefx"), st.integers(0, 2)), min_size=3, max_size=8),
    min_size=1,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    _SHOPS, st.integers(1, 3), st.booleans(), st.sampled_from([0, 2]), st.sampled_from(["leave-one-out", "global-time"])
)
def test_nothing_leaks_and_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory,
    bought: dict[str, list[tuple[str, int]]],
    per_item: int,
    drop_repeats: bool,
    sample: int,
    how: Any,
) -> None:
    """On random shops: outputs follow from the rows, no target row is taught, and in = kept + removed by reason."""
    items = catalogue({code: f"Thing {code}" for code in "abcdef"})
    rows = []
    for user, basket in bought.items():
        moment = START
        for item, gap in basket:
            moment += timedelta(days=gap)
            rows.append((user, item, moment))
    table = interactions(rows)
    layout = workspace(tmp_path_factory.mktemp("shop"), items, table, passed=True)
    chosen = params.Clean(
        min_user_interactions=3,
        min_item_interactions=per_item,
        drop_repeats=drop_repeats,
        sample_users=sample,
        split=how,
    )
    try:
        report = clean(chosen, 17, layout)
    except BadInput:
        assert not any(path.exists() for path in _outputs(layout))
        return
    _adds_up(report)
    assert report["interactions"]["in"] == table.height
    histories = dict(pl.read_parquet(layout.histories).select("user_id", "history").iter_rows())
    valid, test = ({row[0]: row[1:3] for row in pl.read_parquet(path).iter_rows()} for path in _outputs(layout)[2:4])
    assert set(valid) | set(test) <= set(histories)
    assert all(context == [] for context, _ in valid.values())
    known = set(pl.read_parquet(layout.items_clean)["item_id"])
    assert known == {item for user in histories for item in histories[user]} | {
        item for targets in (valid, test) for context, target in targets.values() for item in [*context, target]
    }
    sequences = _expected_sequences(rows, per_item, drop_repeats)
    for user, history in histories.items():
        told = [*history, *(test[user][0] if user in test else [])]
        assert sequences[user][: len(told)] == told
        if user in test:
            assert sequences[user][len(told)] == test[user][1]
        if user in valid:
            assert sequences[user][len(history)] == valid[user][1]


def _expected_sequences(rows: list[Any], per_item: int, drop_repeats: bool) -> dict[str, list[str]]:
    pairs = [(user, item) for user, item, _ in rows if item != "x"]
    if drop_repeats:
        pairs = list(dict.fromkeys(pairs))
    core: dict[str, list[str]] = {}
    for user, item in slow_k_core(pairs, 3, per_item):
        core.setdefault(user, []).append(item)
    return core


@pytest.mark.parametrize("how", ["leave-one-out", "global-time"])
def test_equal_inputs_give_equal_bytes_whatever_the_row_order(tmp_path: Path, how: Any) -> None:
    """Otherwise DVC would run every later stage again for nothing."""
    items, rows = shop()
    chosen = params.Clean(min_user_interactions=3, min_item_interactions=1, split=how, sample_users=7)
    digests = []
    for name, table in {
        "first": rows,
        "again": rows,
        "shuffled": rows.sample(fraction=1, shuffle=True, seed=1),
    }.items():
        layout = workspace(tmp_path / name, items, table, passed=True)
        clean(chosen, 17, layout)
        digests.append([sha256(path) for path in [*_outputs(layout), layout.clean_report]])
    assert digests[0] == digests[1] == digests[2]


def test_the_sample_keeps_so_many_users_with_every_item_they_touch(tmp_path: Path) -> None:
    """A k-core after the sampling would leave fewer users, and items below the bound are wanted here."""
    items, rows = shop(users=30, items=40)
    layout = workspace(tmp_path, items, rows, passed=True)
    whole = clean(LOOSE, 17, layout)
    everyone = pl.read_parquet(layout.histories)
    report = clean(params.Clean(min_user_interactions=3, min_item_interactions=1, sample_users=5), 17, layout)
    chosen = pl.read_parquet(layout.histories)
    assert chosen.height == report["users"]["kept"] == 5 < whole["users"]["kept"]
    assert chosen.equals(everyone.filter(pl.col("user_id").is_in(chosen["user_id"].implode())))
    touched = rows.filter(pl.col("user_id").is_in(chosen["user_id"].implode()))["item_id"].unique().sort()
    assert pl.read_parquet(layout.items_clean)["item_id"].to_list() == touched.to_list()
    clean(params.Clean(min_user_interactions=3, min_item_interactions=1, sample_users=5), 18, layout)
    assert not pl.read_parquet(layout.histories)["user_id"].equals(chosen["user_id"])


def test_clean_reads_the_verdict(tmp_path: Path) -> None:
    """A verdict that is written but not read protects nobody."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows, passed=False)
    with pytest.raises(GateRefused, match="time_goes_forward"):
        clean(LOOSE, 17, layout)
    layout.verdict.unlink()
    with pytest.raises(BadInput, match="missing"):
        clean(LOOSE, 17, layout)
    assert not any(path.exists() for path in _outputs(layout))


def test_an_empty_core_names_counts_and_mend_and_leaves_what_was_there(tmp_path: Path) -> None:
    """Prevents an empty training set from failing two stages later, and from replacing a good one."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows, passed=True)
    clean(LOOSE, 17, layout)
    before = [sha256(path) for path in _outputs(layout)]
    with pytest.raises(BadInput, match=r"72 interactions; removed: k_core 72") as caught:
        clean(params.Clean(min_user_interactions=50), 17, layout)
    assert "lower clean.min_user_interactions (now 50)" in str(caught.value)
    assert [sha256(path) for path in _outputs(layout)] == before


def test_broken_tables_are_named(tmp_path: Path) -> None:
    """A truncated or foreign Parquet file is the input's fault: exit code 2 with the path, not a traceback."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows.drop("position"), passed=True)
    with pytest.raises(BadInput, match="column position is missing"):
        clean(LOOSE, 17, layout)
    workspace(tmp_path, items, rows.with_columns(pl.col("item_id").str.len_chars()), passed=True)
    with pytest.raises(BadInput, match="column item_id is UInt32"):
        clean(LOOSE, 17, layout)
    layout.interactions.write_bytes(b"PAR1 but not really")
    with pytest.raises(BadInput, match="not readable as Parquet"):
        clean(LOOSE, 17, layout)
    layout.interactions.unlink()
    with pytest.raises(BadInput, match="artifact is missing"):
        clean(LOOSE, 17, layout)
