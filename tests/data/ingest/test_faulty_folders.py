"""Tables in several files, copies, other tables beside them, kinds of events: read whole, or named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.data.ingest.sniff import suggest
from components.errors import BadInput
from tests.data.ingest.raw_shop import ITEMS, TRUTH, events, ingested, noted, read, refused, table, write


def halves() -> tuple[str, str]:
    rows = events()
    return tuple(table("user_id,item_id,timestamp", part) for part in (rows[:40], rows[40:]))  # type: ignore[return-value]


@pytest.mark.parametrize("named", [["2020-09.csv", "2020-10.csv"], "2020-*.csv"])
def test_parts_of_a_table_are_read_together(tmp_path: Path, named: list[str] | str) -> None:
    """Prevents: half of the months; and rows of a part named as if they stood in the whole."""
    first, second = halves()
    folder = write(tmp_path / "raw")
    (folder / "events.csv").unlink()
    (folder / "2020-09.csv").write_text(first)
    (folder / "2020-10.csv").write_text(second)
    found = read(folder, tmp_path, interactions=named)
    assert found.histories == TRUTH
    assert "2 files of the same columns, read as one table: 2020-09.csv, 2020-10.csv" in found.said
    assert found.report["files"] == {"read": ["2020-09.csv", "2020-10.csv", "items.csv"], "not_read": []}
    (folder / "2020-10.csv").write_text(second.replace(str(events()[41][2]), "soon"))
    with pytest.raises(BadInput, match=r"row 2 of 2020-10\.csv: 'soon'"):
        ingested(folder, tmp_path, interactions=named)


def test_folders_of_parts_as_spark_writes_them(tmp_path: Path) -> None:
    """Prevents: "the folder holds only folders", and `_SUCCESS` or a checksum read as data."""
    first, second = halves()
    for table_, parts in (("events.csv", [first, second]), ("items.csv", [table("item_id,title", ITEMS)])):
        folder = tmp_path / "raw" / table_
        folder.mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        for number, part in enumerate(parts):
            (folder / f"part-{number:05}-c000.csv").write_text(part)
            (folder / f".part-{number:05}-c000.csv.crc").write_bytes(b"crc")
    assert read(tmp_path / "raw", tmp_path).histories == TRUTH
    assert ingested(tmp_path / "raw", tmp_path, interactions="events.csv", items="items.csv").histories == TRUTH


def test_parts_whose_columns_stand_in_another_order(tmp_path: Path) -> None:
    """Prevents: users read as items in every second month."""
    rows = events()
    turned = table("timestamp,user_id,item_id", [(moment, user, item) for user, item, moment in rows[40:]])
    folder = write(tmp_path / "raw", halves()[0], more__csv=turned)
    assert read(folder, tmp_path).histories == TRUTH


def test_parts_with_stray_quotes_in_one_of_them(tmp_path: Path) -> None:
    """Prevents: the month with a quote left out because the others have none."""
    lines = noted((60, '27" screen')).splitlines(keepends=True)
    folder = write(tmp_path / "raw", "".join(lines[:40]), more__csv="".join([lines[0], *lines[40:]]))
    found = read(folder, tmp_path)
    assert found.histories == TRUTH and found.params["quoting"]["interactions"] == "unquoted"


def test_a_part_that_cannot_be_read_stops_init(tmp_path: Path) -> None:
    """Prevents: one month of two, with the other one named in a line that nobody reads."""
    rows = table("user_id,item_id,timestamp", events()[:40])
    folder = write(tmp_path / "raw", halves()[1], more__csv=rows + 'u1,"x" y,1600000000\nu1,"a,b",1600000000\n')
    refused(folder, "more.csv has the columns of events.csv and cannot be read", "line 42")


def test_a_part_with_other_columns_or_without_a_header_stops_init(tmp_path: Path) -> None:
    """Prevents: October read and November not, as it has one more column, or `split` gave the header to the first."""
    first, second = halves()
    folder = write(tmp_path / "a", items=None)
    (folder / "events.csv").unlink()
    (folder / "2019-Oct.csv").write_text(first)
    (folder / "2019-Nov.csv").write_text(second.replace("\n", ",x\n").replace("timestamp,x", "timestamp,page"))
    refused(folder, "2019-Nov.csv", "2019-Oct.csv", "different columns: page")
    (folder / "2019-Nov.csv").write_text(second.partition("\n")[2])
    refused(folder, "2019-Nov.csv has no header")


def test_an_empty_part_holds_no_record(tmp_path: Path) -> None:
    """Prevents: an empty partition of Spark that stops the night."""
    first, second = halves()
    folder = write(tmp_path / "raw", first, more__csv=second, none__csv="")
    found = ingested(folder, tmp_path, interactions=["events.csv", "more.csv", "none.csv"])
    assert found.histories == TRUTH and "none.csv is empty (0 bytes)" in found.report["remarks"][0]


@pytest.mark.parametrize("other", ["events (1).csv", "events.tsv", "older.csv"])
def test_a_copy_does_not_count_double(tmp_path: Path, other: str) -> None:
    """Prevents: each interaction twice, as the file lies there once more, or an older export of it."""
    folder = write(tmp_path / "raw")
    content = (folder / "events.csv").read_text()
    if other == "older.csv":
        content = "".join(content.splitlines(keepends=True)[:30])
    (folder / other).write_text(content.replace(",", "\t") if other.endswith("tsv") else content)
    found = read(folder, tmp_path)
    assert found.histories == TRUTH
    assert "a copy, which would count double" in found.said


def test_another_table_of_interactions_is_named(tmp_path: Path) -> None:
    """Prevents: clicks read and purchases beside them not even mentioned."""
    orders = table("user_id,item_id,timestamp,rating", [(*event, 5) for event in events()])
    folder = write(tmp_path / "raw", orders, clicks__csv="user_id,item_id,page\nu01,p01,x\n", notes__txt="hello")
    found = read(folder, tmp_path)
    assert "Not read: clicks.csv; could be interactions as well, columns user_id, item_id, page" in found.said
    assert "Not read: notes.txt; its ending says no kind of table" in found.said


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    """Prevents: parts without an ending, or pictures, that nobody mentions."""
    folder = write(tmp_path / "raw")
    (folder / "more").mkdir()
    (folder / "more" / "part-00000").write_text(table("user_id,item_id,timestamp", events()))
    assert "Not read: more/; no file in it is a table by its ending" in read(folder, tmp_path).said
    (folder / "events.csv").unlink()
    refused(folder, "there is no table with a user and an item column", "more/: no file in it is a table by its ending")


def test_known_layouts_name_what_they_leave(tmp_path: Path) -> None:
    """Prevents: silence about files beside an Amazon data set, and about its columns."""
    reviews = "".join(
        json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": moment, "vote": "2"}) + "\n"
        for user, item, moment in events()
    )
    metadata = "".join(json.dumps({"asin": code, "title": title, "rank": 7}) + "\n" for code, title in ITEMS)
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, content in (("Tools.json", reviews), ("meta_Tools.json", metadata), ("readme.txt", "x")):
        (folder / name).write_text(content)
    said = read(folder, tmp_path).said
    assert "Columns of the interactions that are not used: vote." in said
    assert "Columns of the items that are not used: rank." in said
    assert "Files that are not read: readme.txt." in said
    assert "item_id (e.g. 'p0" in said


def kinds() -> str:
    found = ("view", "cart", "purchase")
    return table("user_id,item_id,timestamp,event_type", [(*event, found[event[2] % 3]) for event in events()])


def test_kinds_of_events_are_named_kept_and_weighted(tmp_path: Path) -> None:
    """Prevents: a view that counts like a purchase without a word."""
    folder = write(tmp_path / "raw", kinds())
    found = read(folder, tmp_path)
    assert "Column 'event_type' has 3 kinds of events" in found.said and "ingest.events" in found.said
    assert found.histories == TRUTH and "weight" not in found.interactions.columns
    weighted = read(folder, tmp_path, events={"purchase": 1.0, "cart": 0.25})
    account = weighted.report["conservation"]["interactions"]
    views = sum(moment % 3 == 0 for _, _, moment in events())
    assert (account["records"], account["set_aside"]) == (72, {"other_event": views})
    assert set(weighted.interactions["weight"]) == {1.0, 0.25}
    with pytest.raises(BadInput, match=r"no interaction is of the kind 'buy'; found: .*view"):
        read(folder, tmp_path, events=["buy"])
    with pytest.raises(BadInput, match="there is no event column"):
        read(write(tmp_path / "plain"), tmp_path, events=["buy"])


def test_what_people_buy_again_is_said(tmp_path: Path) -> None:
    """Prevents: a shop of daily goods cleaned of its repeats by a default."""
    rows = [*events(), *((user, TRUTH[user][0], 1_700_000_000) for user in TRUTH)]
    found = suggest(write(tmp_path / "raw", table("user_id,item_id,timestamp", rows)))
    assert any(
        "100% of the users end with an item that they had before. clean.drop_repeats" in x for x in found["lines"]
    )
