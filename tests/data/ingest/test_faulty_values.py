"""Ids that a spreadsheet has changed, printed lists and prices, encodings: the right values, or the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.errors import BadInput
from tests.data.ingest.raw_shop import ITEMS, TRUTH, events, ingested, read, refused, table, write


def renamed(change: Callable[[str], str], items: Callable[[str], str] = str) -> dict[str, str]:
    """Both tables with other ids of the items."""
    rows = [(user, change(item[1:]), moment) for user, item, moment in events()]
    return {
        "interactions": table("user_id,item_id,timestamp", rows),
        "items": table("item_id,title", [(items(code[1:]), title) for code, title in ITEMS]),
    }


@pytest.mark.parametrize(
    ("change", "items", "said"),
    [
        (
            lambda n: f"4.0063{n}E+12",
            lambda n: f"4006{n}8133393",
            "scientific notation: different ones became the same",
        ),
        (lambda n: f"4.0063{n}e12", lambda n: f"4.0063{n}e12", "scientific notation"),
        (lambda n: f"40063{n}.0", lambda n: f"40063{n}", "decimal numbers"),
        (lambda n: f"40063{n}.0", lambda n: f"40063{n}.0", "decimal numbers"),
        (lambda n: str(int(n) + 7), lambda n: f"{int(n) + 7:05}", "leading zeros alone: 10 against 00010"),
        (lambda n: f"{int(n) + 7:05}", lambda n: str(int(n) + 7), "leading zeros alone: 00007 against 7"),
        (lambda n: f"AB{n}", lambda n: f"ab{n}", "case alone: AB00 against ab00"),
        (lambda n: f"40063813339{n}00000", lambda n: f"40063813339{n}00000", "long numbers that all end in zeros"),
        (lambda n: f'"4,0063{n}E+12"', lambda n: f"4006{n}8133393", "scientific notation"),
        (lambda n: f"40063{n}0000000", lambda n: f"40063{n}0000000", "long numbers that all end in zeros"),
    ],
)
def test_ids_that_a_spreadsheet_has_changed_are_refused(
    tmp_path: Path, change: Callable[[str], str], items: Callable[[str], str], said: str
) -> None:
    """Prevents: products merged into one another, or an item table that nothing joins with; with ten examples."""
    refused(write(tmp_path / "raw", **renamed(change, items)), said, "text")


@pytest.mark.parametrize("change", [lambda n: f"1E{n}", lambda n: f"0{n}", lambda n: f"1.{n}", lambda n: f"b{n}.0"])
def test_codes_that_only_look_so_are_read(tmp_path: Path, change: Callable[[str], str]) -> None:
    """Prevents: 1E05, a code somebody chose, refused as a number; zeros taken away; versions taken for floats."""
    assert set(read(write(tmp_path / "raw", **renamed(change, change)), tmp_path).items) == {
        change(code[1:]) for code, _ in ITEMS
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: '"=""p' + n + '"""', 'by quotes alone: ="p00" against p00'),
        (lambda n: f"SKU-{n}", "none of the 10 items of the interactions is in the item table: SKU-00, SKU-01, SKU-02"),
    ],
    ids=["formula of a spreadsheet", "another shop"],
)
def test_tables_that_share_no_item_are_refused(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    """Prevents: "no item has any text, map the text columns" where the ids of two tables are written differently."""
    refused(write(tmp_path / "raw", **renamed(change, lambda n: f"p{n}")), said)


def test_users_in_two_writings_are_refused(tmp_path: Path) -> None:
    """Prevents: each user twice, with half a history each, after one of two files went through a spreadsheet."""
    rows = [(user[1:] if moment // 90_000 % 2 else str(int(user[1:])), item, moment) for user, item, moment in events()]
    folder = write(tmp_path / "raw", table("user_id,item_id,timestamp", rows))
    refused(folder, "with and without leading zeros")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["12,5 €", "1.299,00 €", "1.299", "€ 0,99", "7"], [12.5, 1299.0, 1299.0, 0.99, 7.0]),
        (["$1,299.00", "12.99", "1.299", "1,299", "from 14.99"], [1299.0, 12.99, 1.299, 1299.0, 14.99]),
        (["1 299,00 kr", "1'299.00 CHF", "₹1,29,900.00", "12.5e1", "$.99"], [1299.0, 1299.0, 129900.0, 125.0, 0.99]),
        (["1.299 €", "2.499 €", "899 €", "1.049 €", "12 €"], [1299.0, 2499.0, 899.0, 1049.0, 12.0]),
        (["0.125", "0.375", "1.250", "0.500", "2.125"], [0.125, 0.375, 1.25, 0.5, 2.125]),
        (["-5.00", "ask", "N/A", "", "12 - 15"], [None, None, None, None, 12.0]),
    ],
)
def test_prices_as_they_are_written(tmp_path: Path, written: list[str], expected: list[float | None]) -> None:
    """Prevents: 12,5 euros read as 125, and 1.299 euros as one."""
    quoted = ['"' + price + '"' for price in written]
    rows = [(*item, quoted[number % 5]) for number, item in enumerate(ITEMS)]
    found = read(write(tmp_path / "raw", items=table("item_id,title,price", rows)), tmp_path)
    assert [found.items[code]["price"] for code, _ in ITEMS[:5]] == expected
    unread = sum(price is None and text not in ("", "N/A") for price, text in zip(expected, written, strict=True))
    assert found.report["items"].get("prices_unread", {}).get("count", 0) == 2 * unread


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("['a' 'b']", ["a", "b"]),
        ("""['Chef's' "it's"]""", ["['Chef's' \"it's\"]"]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("[array(['a b', 'c'], dtype=object) list(['d'])]", ["a b", "c", "d"]),
        ("['a'\n 'b']", ["a", "b"]),
        ("[u'a', None, nan, 7]", ["a", "7"]),
        ("('a', 'b')", ["a", "b"]),
        ("[{'id': 1, 'name': 'Drama'}, {'id': 2, 'name': 'War'}]", ["Drama", "War"]),
        ('{"takeOut": true, "wifi": "u\'free\'", "bar": false}', ["take Out", "wifi: free"]),
        ("{'garage': False, 'street': True}", ["street"]),
        ("[Brand] kettle", ["[Brand] kettle"]),
    ],
)
def test_lists_and_records_as_they_are_printed(tmp_path: Path, written: str, expected: list[str]) -> None:
    """Prevents: ['a' 'b'] read as one word, and flags in JSON as text of an item."""
    rows = [(*item, '"' + written.replace('"', '""') + '"') for item in ITEMS]
    found = read(write(tmp_path / "raw", items=table("item_id,title,categories", rows)), tmp_path)
    assert found.items["p00"]["categories"] == expected


def test_a_list_that_numpy_cut_is_said(tmp_path: Path) -> None:
    rows = [(*item, "['a' 'b' ... 'z']") for item in ITEMS]
    found = read(write(tmp_path / "raw", items=table("item_id,title,categories", rows)), tmp_path)
    assert found.items["p00"]["categories"] == ["a", "b", "z"]
    assert "10 lists of categories were cut short by numpy" in found.said


def test_records_of_figures_are_left_out_and_said(tmp_path: Path) -> None:
    """Prevents: {"loudness": -10.1} in the text of a song."""
    lines = [json.dumps({"item_id": code, "title": title, "audio": {"key": 2.0}}) for code, title in ITEMS]
    folder = write(tmp_path / "raw", items__jsonl="\n".join(lines) + "\n")
    (folder / "items.csv").unlink()
    found = read(folder, tmp_path)
    assert list(found.items["p00"]) == ["title"] and "not used: audio" in found.said


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_what_databases_write_for_nothing_is_nothing(tmp_path: Path, ending: str) -> None:
    r"""Prevents: \N as the brand of a kettle, and a missing time that refuses the column."""
    separator = "," if ending == "csv" else "\t"
    rows = [(*item, "\\N" if number % 2 else "Alder") for number, item in enumerate(ITEMS)]
    folder = write(tmp_path / "raw", items=None, **{f"items__{ending}": table("item_id,title,brand", rows, separator)})
    if ending == "tsv":
        (folder / "items.csv").unlink()
    lines = table("user_id,item_id,timestamp", [*events() * 30, ("new", "p01", "\\N")])
    (folder / "events.csv").write_text(lines)
    found = read(folder, tmp_path)
    assert [found.items[code]["brand"] for code, _ in ITEMS[:2]] == ["Alder", None]
    assert found.report["conservation"]["interactions"]["set_aside"] == {"order_unknown": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    """Prevents: "TapeError at character 0" for a mark that nobody sees."""
    items = "".join(
        json.dumps({"item_id": code, "title": f"{title} é"}, ensure_ascii=False) + "\n" for code, title in ITEMS
    )
    rows = table("user_id,item_id,timestamp", events())
    folder = write(tmp_path / "raw", rows.encode(encoding), items__jsonl=items.encode(encoding))
    (folder / "items.csv").unlink()
    found = read(folder, tmp_path)
    assert found.histories == TRUTH and found.items["p00"]["title"] == f"{ITEMS[0][1]} é"


def test_what_a_file_is_packed_with_is_told_by_its_content(tmp_path: Path) -> None:
    """Prevents: "line 1 is not JSON" for a gzip that is named .json, and Parquet called CSV read as text."""
    import gzip

    lines = "".join(json.dumps({"item_id": code, "title": title}) + "\n" for code, title in ITEMS)
    folder = write(tmp_path / "raw", gzip.compress(table("user_id,item_id,timestamp", events()).encode()))
    (folder / "items.csv").unlink()
    (folder / "items.json").write_bytes(gzip.compress(lines.encode()))
    assert read(folder, tmp_path).histories == TRUTH
    (folder / "items.json").unlink()
    pl.DataFrame(ITEMS, schema=["item_id", "title"], orient="row").write_parquet(folder / "items.csv")
    assert read(folder, tmp_path).items["p03"]["title"] == ITEMS[3][1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest", "a zip archive"),
        (b"BZh91AY", "packed with bzip2"),
        (b"item_id,title\ra,b\r", "carriage returns alone"),
        ("item_id,title\np00,x\n".encode("utf-16")[:-1], "not sound utf-16"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    folder = write(tmp_path / "raw", items=content)
    with pytest.raises(BadInput, match=said):
        ingested(folder, tmp_path)
