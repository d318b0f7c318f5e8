"""The inputs of public bug reports (`../shared/faults`): the right rows, or the reason."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.data.ingest.raw_shop import read, refused

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "faults"


@pytest.fixture(scope="session")
def faults() -> Path:
    if not FAULTS.is_dir():
        pytest.skip(f"needs the folder of faulty inputs at {FAULTS}")
    return FAULTS


@pytest.fixture(scope="session")
def truth(faults: Path) -> dict[str, list[str]]:
    """What the shop of the handed inputs has really sold: each user's items in order of time."""
    with (faults / "10b" / "interactions.csv").open() as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: (row["user_id"], int(row["timestamp"])))
    assert len(rows) == 320
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["user_id"], []).append(row["item_id"])
    return found


@pytest.mark.parametrize("name", ["01", "01b", "04", "10b", "11", "19"])
def test_handed_inputs_that_can_be_read_are_read_whole(
    faults: Path, truth: dict[str, list[str]], tmp_path: Path, name: str
) -> None:
    """Stray quotes, times in UTC by name, byte order marks, backslashes before quotes, two files of one table."""
    found = read(faults / name, tmp_path)
    assert found.histories == truth
    assert found.report["conservation"]["interactions"] == {
        "records": 320,
        "kept": 320,
        "set_aside": {},
        "such_as": [],
    }
    assert len(found.items) == 48 and all(item["title"] for item in found.items.values())


def test_handed_01_names_the_column_that_is_not_used(faults: Path, tmp_path: Path) -> None:
    assert "not used: note (e.g. 'ok')" in read(faults / "01", tmp_path).said


def test_handed_02_lists_of_numpy(faults: Path, truth: dict[str, list[str]], tmp_path: Path) -> None:
    found = read(faults / "02", tmp_path)
    assert found.histories == truth
    assert found.items["p00"]["categories"] == ["Home & Kitchen", "Coffee", "kettle"]
    assert found.items["p00"]["attributes"] == ["Dishwasher safe kettle", "Made by Alder", "Chef's choice"]
    assert found.items["p00"]["description"] == "A kettle for every day. Comes in a box."


def test_handed_03_dates_as_integers(faults: Path, truth: dict[str, list[str]], tmp_path: Path) -> None:
    found = read(faults / "03", tmp_path)
    assert found.report["interactions"]["time_unit"] == "YYYYMMDD"
    assert found.report["interactions"]["first_time"].startswith("2020-09-1")
    assert {user: Counter(items) for user, items in found.histories.items()} == {
        user: Counter(items) for user, items in truth.items()
    }


def test_handed_05_scientific_notation(faults: Path) -> None:
    refused(faults / "05", "scientific notation", "25 ids of item_id", "4.00638E+12", "4.00647E+12")


def test_handed_06_a_step_that_starts_again(faults: Path) -> None:
    refused(faults / "06", "positions repeat within a user", "40 of 40 users", "row 1, row 5", "ingest.order: file")


def test_handed_07_flags_become_words(faults: Path, truth: dict[str, list[str]], tmp_path: Path) -> None:
    found = read(faults / "07", tmp_path)
    assert [[item[1:-2] for item in items] for items in found.histories.values()] == list(truth.values())
    assert found.items["-p01_Q"]["attributes"] == ["Restaurants Take Out", "Wi Fi: free", "Business Parking: street"]
    assert "hours" not in found.items["-p01_Q"] and "not used: hours" in found.said
    assert "become words: Restaurants Take Out" in found.said
    assert "Not read: yelp_academic_dataset_user.json" in found.said


def test_handed_08_seconds_among_milliseconds(faults: Path) -> None:
    refused(faults / "08", "280 in epoch milliseconds, 40 in epoch seconds", "row 8: '1601056714'")


def test_handed_10g_a_mark_before_python_dicts(faults: Path, truth: dict[str, list[str]], tmp_path: Path) -> None:
    found = read(faults / "10g-amazon", tmp_path)
    assert found.histories == {f"A{user}": items for user, items in truth.items()}
    assert found.items["p00"]["title"] == "Alder kettle"


def test_handed_11_quotes_behind_backslashes(faults: Path, tmp_path: Path) -> None:
    found = read(faults / "11", tmp_path)
    assert found.items["p05"]["title"] == 'Birch mug called "Best", large'
    assert found.params["quoting"]["items"] == "backslash"


def test_handed_12b_kinds_of_events(faults: Path, tmp_path: Path) -> None:
    found = read(faults / "12b", tmp_path)
    assert "view 320, addtocart 61, transaction 33" in found.said and "not used: transactionid" in found.said
    assert found.report["conservation"]["interactions"]["records"] == 414
    bought = read(faults / "12b", tmp_path, events=["transaction"])
    account = bought.report["conservation"]["interactions"]
    assert (account["kept"], account["set_aside"]) == (33, {"other_event": 381})


def test_handed_19_names_both_files(faults: Path, tmp_path: Path) -> None:
    found = read(faults / "19", tmp_path)
    assert found.params["interactions"] == ["2020-Sep-1.csv", "2020-Sep-2.csv"]
