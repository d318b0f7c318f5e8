"""The ID table, its contract, and tables from elsewhere."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerBase

from components.errors import BadInput
from components.textid.table.id_table import IdTable
from components.textid.table.quality import quality, warnings
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import train_tokenizer
from components.textid.words.twins import near_twins
from components.textid.writing.imported import adopt, read_imported

WORDS = {"b": "birch soap", "a": "acorn soap 32 oz", "c": "birch soap red"}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(["acorn soap 32 oz", "birch soap red candle"] * 99, vocabulary_size=400)


@pytest.fixture
def table(tokenizer: PreTrainedTokenizerBase) -> IdTable:
    return IdTable.from_words(tokenizer, WORDS)


def test_a_good_table_breaks_no_rule(table: IdTable, tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents a contract that refuses what it should accept; an ID that is a prefix of another is legal."""
    assert table.item_ids == tuple(WORDS)
    assert table.violations(tokenizer, max_tokens=12, item_ids=["c", "a", "b"]) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"words": ("acorn soap 32 oz", "birch soap", "birch soap")}, "IDs are unique as words"),
        ({"words": ("", "birch soap", "birch soap red")}, "IDs are not empty"),
        ({"words": ("Acorn soap!", "birch soap", "birch soap red")}, "IDs are words only"),
        ({"words": ("acorn", "birch soap", "birch soap red")}, "encode, decode, encode is the identity"),
    ],
)
def test_every_rule_is_checked(table: IdTable, tokenizer: PreTrainedTokenizerBase, change: dict, rule: str) -> None:  # type: ignore[type-arg]
    """Prevents a contract that is written and not checked."""
    broken = replace(table, **change).violations(tokenizer, max_tokens=12, item_ids=["a", "b", "c"])
    assert rule in [violation["rule"] for violation in broken]
    assert all(violation["rows"] and violation["count"] >= 1 for violation in broken)


def test_tokens_length_and_coverage_are_checked(table: IdTable, tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents two items with one path in the trie, an ID longer than the decoder goes, and an item without an ID."""
    same = replace(table, token_ids=(table.token_ids[1], *table.token_ids[1:]))
    rules = {broken["rule"] for broken in same.violations(tokenizer, max_tokens=12, item_ids=["a"])}
    assert "IDs are unique as token sequences" in rules
    (long,) = table.violations(tokenizer, max_tokens=len(table.token_ids[2]) - 1, item_ids=[])[:1]
    assert long["rule"].startswith("IDs have at most")
    (missing,) = table.violations(tokenizer, max_tokens=12, item_ids=["a", "z"])
    assert missing["rows"] == [{"item_id": "z", "words": ""}]


def test_words_in_other_tokens_break_the_identity(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents an ID spelt letter by letter: it reads well, and the recommender would never write it so."""
    letters = tuple(tokenizer.convert_tokens_to_ids(["▁", *"birch", "▁", *"soap"]))
    spelt = replace(IdTable.from_words(tokenizer, {"a": "birch soap"}), token_ids=(letters,))
    (broken,) = spelt.violations(tokenizer, max_tokens=len(letters), item_ids=["a"])
    assert broken["rule"] == "encode, decode, encode is the identity"


def test_saves_to_equal_bytes_and_loads_what_was_saved(table: IdTable, tmp_path: Path) -> None:
    """Prevents an artifact whose hash changes from run to run."""
    table.save(tmp_path / "one.parquet")
    table.save(tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert IdTable.load(tmp_path / "one.parquet") == table
    assert IdTable.load(tmp_path / "one.parquet").digest() == table.digest()


def test_a_full_disk_leaves_the_table_that_was_there(
    table: IdTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents half a table in the place of the one that a recommender was trained on."""

    def fill_the_disk(_table: pa.Table, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    path = tmp_path / "ids.parquet"
    table.save(path)
    monkeypatch.setattr(pq, "write_table", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        replace(table, words=("x", "y", "z")).save(path)
    assert IdTable.load(path) == table
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_knows_every_word_and_token(table: IdTable) -> None:
    """Prevents a recommender beside a table that differs from its own."""
    others = [replace(table, words=("x", *table.words[1:])), replace(table, token_ids=((7,), *table.token_ids[1:]))]
    assert len({table.digest(), *(other.digest() for other in others)}) == 3


def test_a_missing_broken_or_foreign_file_is_bad_input(tmp_path: Path) -> None:
    """Prevents a traceback instead of what was found, where, and how to mend it."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    for name, found in (("none.parquet", "there is no ID table"), ("broken.parquet", "not an ID table")):
        with pytest.raises(BadInput, match=found):
            IdTable.load(tmp_path / name)


def test_churn_counts_changed_items_of_both_tables(table: IdTable, tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents new items from counting as changed ones."""
    later = IdTable.from_words(tokenizer, {"a": WORDS["a"], "b": "candle", "d": "red"})
    assert later.churn(table) == 0.5
    assert IdTable.from_words(tokenizer, {"d": "red"}).churn(table) == 0.0


def test_the_share_of_own_words_is_one_of_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents a share per item, which long IDs push above 1."""
    table = IdTable.from_words(tokenizer, {"a": "birch soap", "b": "red"})
    own = OwnWords.of(["a", "b"], ["birch", "red"])
    assert quality(table, own, near_twins(own))["own_word_share"] == pytest.approx(2 / 3, abs=1e-6)


def figures_of(tokenizer: PreTrainedTokenizerBase, named: dict[str, str], texts: dict[str, str]) -> dict[str, Any]:
    own = OwnWords.of(list(texts), list(texts.values()))
    return quality(IdTable.from_words(tokenizer, named), own, near_twins(own))


def test_false_words_are_counted_and_a_number_that_only_counts_is_none(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents a report that calls "soap 2" false, or takes any number, or the label of a field, for true."""
    texts = dict.fromkeys("abcd", "title: birch soap") | {"e": "title: acorn soap", "f": "!"}
    honest = {"a": "soap", "b": "soap 2", "c": "soap 3", "d": "birch", "e": "acorn", "f": "item 2"}
    found = figures_of(tokenizer, honest, texts)
    assert (found["false_words"], found["false_id_share"], found["numbered"]) == (0, 0.0, 3)
    lies = {**honest, "c": "soap 32", "d": "birch title", "e": "acorn birch oz"}
    found = figures_of(tokenizer, lies, texts)
    assert (found["false_words"], found["numbered"]) == (4, 2)
    assert found["false_id_share"] == pytest.approx(3 / 6)
    assert len(warnings(found)) == 1 and "50.0%" in warnings(found)[0]


def test_near_twins_are_told_apart_by_a_word_that_the_other_lacks(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents a share that counts any two different IDs as told apart, or an item that has no word of its own."""
    texts = {"a": "acorn soap candle red", "b": "acorn soap candle", "c": "acorn soap candle oz", "d": "birch"}
    told = {"a": "soap red", "b": "acorn candle", "c": "soap oz", "d": "birch"}
    found = figures_of(tokenizer, told, texts)
    assert (found["near_twins"], found["distinguished"]) == (2, 1.0)  # all words of b are those of its twins too
    assert warnings(found) == []
    found = figures_of(tokenizer, {**told, "a": "soap acorn"}, texts)
    assert found["distinguished"] == 0.5 and "of 2 items" in warnings(found)[0]


def test_items_must_be_different_and_columns_of_one_length() -> None:
    """Prevents an item with two IDs, of which one is never found."""
    with pytest.raises(ValueError, match="unique"):
        IdTable(("a", "a"), ("x", "y"), ((5,), (6,)))
    with pytest.raises(ValueError, match="columns"):
        IdTable(("a",), (), ())


def test_an_imported_table_is_made_to_keep_the_contract(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Prevents empty, repeated, too long and missing IDs of a file from reaching the recommender."""
    path = tmp_path / "ids.tsv.gz"
    long = "acorn soap 32 oz red candle birch acorn soap red"
    rows = f"item_id\twords\nb\tBirch-Soap!\na\tbirch soap\nc\t\nd\t{long}\nz\tgone\n"
    path.write_bytes(gzip.compress(rows.encode()))
    texts = ["title: birch soap red", "title: birch soap", "title: acorn candle", "title: acorn", "title: oz"]
    table, report = adopt(read_imported(path), tokenizer, ["a", "b", "c", "d", "e"], texts, max_tokens=9)
    assert table.violations(tokenizer, max_tokens=9, item_ids=["a", "b", "c", "d", "e"]) == []
    # Of two with the same words the one whose text comes first keeps them, whatever their ids.
    assert table.words[1] == "birch soap" and table.words[0].startswith("birch soap ")
    assert (report["missing"], report["shortened"], report["foreign_items"]) == (2, 1, 1)
    assert report["last_resort"] == 3


def test_an_import_keeps_taken_ids_and_reserves_those_of_gone_items(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prevents a new item that inherits what the recommender learned about one that is gone."""
    taken = IdTable.from_words(tokenizer, {"gone": "birch soap", "kept": "red candle"})
    words = {"new": "birch soap", "kept": "acorn"}
    texts = ["title: red", "title: birch soap"]
    table, report = adopt(words, tokenizer, ["kept", "new"], texts, max_tokens=9, taken=taken)
    assert table.words == ("red candle", "soap birch")
    assert (report["kept"], report["written"], report["last_resort"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "first line"),
        (b"id\twords\na\tx\n", "first line"),
        (b"item_id\twords\na\tx\na\ty\n", "stood before"),
        (b"item_id\twords\na\tx\ty\n", "not two columns"),
        (b"item_id\twords\na\n", "not two columns"),
        (b"item_id\twords\n\xff\tx\n", "cannot be read"),
    ],
)
def test_a_broken_import_names_the_line(tmp_path: Path, content: bytes, found: str) -> None:
    """Prevents a table that is half read."""
    path = tmp_path / "ids.tsv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=found):
        read_imported(path)


def test_a_truncated_or_missing_import_is_bad_input(tmp_path: Path) -> None:
    """Prevents a download that broke off from passing as a short table."""
    path = tmp_path / "ids.tsv.gz"
    path.write_bytes(gzip.compress(b"item_id\twords\n" + b"a\tb\n" * 500)[:-20])
    with pytest.raises(BadInput, match="cannot be read"):
        read_imported(path)
    with pytest.raises(BadInput, match="no such table"):
        read_imported(tmp_path / "none.tsv")


@pytest.mark.real
def test_the_reference_ids_of_real_catalogues_can_be_adopted(shared_data: Path) -> None:
    """Prevents a refusal of the authors' own table: duplicates and one empty ID in 12,101 are there and are mended."""
    words = read_imported(shared_data / "amazon-beauty" / "reference_ids.tsv.gz")
    items = sorted(words)
    tokenizer = train_tokenizer(list(words.values()), vocabulary_size=4096)
    table, report = adopt(words, tokenizer, items, [words[item] for item in items], max_tokens=14)
    assert len(table) == 12_101 and report["missing"] == 1
    assert table.violations(tokenizer, max_tokens=14, item_ids=items) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"item_id": ["a", "b"], "words": ["soap", None], "token_ids": [[3], [4]]},
        {"item_id": ["a", "b"], "words": ["soap", "towel"], "token_ids": [[3], None]},
        {"item_id": ["a", "b"], "words": ["soap", "towel"], "token_ids": [[3], [None]]},
        {"item_id": ["a", "b"], "words": ["soap", "towel"], "token_ids": [[3], [-4]]},
        {"item_id": ["a", "b"], "words": ["soap", "towel"], "token_ids": ["3", "4"]},
    ],
)
def test_hand_made_tables_are_refused_when_read(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    """Prevents a traceback deep in the trie for a table that somebody edited."""
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="not an ID table"):
        IdTable.load(tmp_path / "t.parquet")
