"""The inputs of public bug reports (`../shared/faults`) and others of their kinds: the right rows, or the reason."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from components.data.ingest.sniff import suggest
from components.data.validate.validate import validate
from components.errors import BadInput, GateRefused
from components.settings.params import Validate
from components.storage.layout import Layout
from tests.data.ingest.raw_shop import ITEMS, TRUTH, events, ingested, iso, read, table, timed, write

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


def refused(folder: Path, *parts: str) -> None:
    """`idiom init` says no, with all of `parts`."""
    with pytest.raises(BadInput) as caught:
        suggest(folder)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


# ---- the handed inputs


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


# ---- quotes


def noted(*notes: tuple[int, str]) -> str:
    """The interactions with a column of notes, some of them as given: (row from 0, what stands there)."""
    special = dict(notes)
    rows = [(*event, special.get(number, "ok")) for number, event in enumerate(events())]
    return table("user_id,item_id,timestamp,note", rows)


@pytest.mark.parametrize(
    "notes",
    [
        [(10, '27" screen')],
        [(10, '27" screen'), (50, '27" screen')],
        [(10, '"open'), (50, 'close"')],
        [(number, '27" screen') for number in range(72)],
        [(0, '"'), (71, '"')],
    ],
    ids=["one", "two", "as if quoted", "in every row", "first and last"],
)
def test_stray_quotes_take_no_row(tmp_path: Path, notes: list[tuple[int, str]]) -> None:
    """Prevents: the rows between two stray quotes read as one field, also where they look like proper ones."""
    found = read(write(tmp_path / "raw", noted(*notes)), tmp_path)
    assert found.histories == TRUTH
    assert found.params["quoting"]["interactions"] == "unquoted"


@pytest.mark.parametrize(
    ("notes", "line"),
    [
        ([(10, '27" screen'), (20, '"a, b"')], 12),
        ([(10, '27\\" screen'), (20, '"a \\"b"')], 12),
        ([(20, '"a, b"'), (30, '"a" b')], 32),
        ([(20, '"a, b')], 22),
    ],
    ids=["in a bare field", "behind a backslash in a bare field", "behind a quoted one", "without an end"],
)
def test_quotes_that_fit_no_dialect_are_refused_with_their_line(
    tmp_path: Path, notes: list[tuple[int, str]], line: int
) -> None:
    """Prevents: a guess where a file quotes some fields and has stray quotes in others."""
    refused(write(tmp_path / "raw", noted(*notes)), f"events.csv, line {line}")


def test_a_stray_quote_of_tomorrow_is_refused_by_the_dialect_of_today(tmp_path: Path) -> None:
    """Prevents: a nightly run that changes its reading of a file; and a mend that does not say what to do."""
    folder = write(tmp_path / "raw", noted((10, '27" screen')))
    with pytest.raises(BadInput) as caught:
        ingested(folder, tmp_path)
    assert "events.csv, line 12" in caught.value.where
    assert "set ingest.quoting: {interactions: unquoted}" in caught.value.mend


@pytest.mark.parametrize("odd", [1, 3, 12])
def test_backslashes_before_quotes_swallow_no_item(tmp_path: Path, odd: int) -> None:
    """Prevents: twelve rows of a thousand in one title."""
    titles = {f"p{number:02}": title for number, title in enumerate(f"Alder kettle {n}" for n in range(1000))}
    titles |= {f"p{(n * 83) % 1000:02}": f'Alder screen {n} of 27"' for n in range(odd)}
    rows = [(f'"{code}"', '"' + title.replace('"', '\\"') + '"', '"Alder"') for code, title in titles.items()]
    found = read(write(tmp_path / "raw", items=table("item_id,title,brand", rows)), tmp_path)
    assert {code: item["title"] for code, item in found.items.items()} == titles


def test_a_backslash_at_the_end_of_a_proper_field_stays(tmp_path: Path) -> None:
    """Prevents: "C:\\" read as if its closing quote were text."""
    rows = [(code, f'"C:\\{number}, or D:\\"') for number, (code, _) in enumerate(ITEMS)]
    found = read(write(tmp_path / "raw", items=table("item_id,title", rows)), tmp_path)
    assert found.items["p03"]["title"] == "C:\\3, or D:\\"
    assert found.params["quoting"]["items"] == "rfc4180"


def test_texts_of_several_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    """Prevents: an honest description refused because one of its lines has as many commas as a row has."""
    rows = [(code, title, f'"Big.\nSmall, red, round.\nA ""good"" {title}, really"') for code, title in ITEMS]
    found = read(write(tmp_path / "raw", items=table("item_id,title,description", rows)), tmp_path)
    assert found.items["p03"]["description"].splitlines()[1] == "Small, red, round."


def test_a_quoted_tsv_is_unquoted_and_a_bare_one_is_not(tmp_path: Path) -> None:
    """Prevents: quotes of pandas as part of titles, and a film called "Heroes" that loses them."""
    quoted = table("item_id,title", [(code, f'"The ""{title}"""') for code, title in ITEMS], "\t")
    bare = table("item_id,title", [(code, f'"Heroes" {title}') for code, title in ITEMS], "\t")
    for name, content, expected in (("a", quoted, f'The "{ITEMS[0][1]}"'), ("b", bare, f'"Heroes" {ITEMS[0][1]}')):
        folder = write(tmp_path / name, items__tsv=content)
        (folder / "items.csv").unlink()
        assert read(folder, tmp_path).items["p00"]["title"] == expected


# ---- lines that are no records, and files that are cut


def test_blank_lines_and_repeated_headers_are_no_records(tmp_path: Path) -> None:
    """Prevents: a user called user_id, and a blank last line that refuses a whole file."""
    lines = table("user_id,item_id,timestamp", events()).splitlines()
    mixed = [*lines[:20], "", lines[0], *lines[20:40], ",,", "  ", *lines[40:], lines[0], ""]
    found = read(write(tmp_path / "raw", "\n".join(mixed) + "\n"), tmp_path)
    assert found.histories == TRUTH
    assert "repeats its header 2 times" in found.said and "4 lines that hold nothing" in found.said


@pytest.mark.parametrize(
    ("cut", "said"),
    [(3, "ends without a line end"), (20, "the file ends in the middle of a record: line 73 has 2 fields")],
    ids=["within a value", "within a record"],
)
def test_a_cut_file_is_named(tmp_path: Path, cut: int, said: str) -> None:
    """Prevents: a file that was cut off read as if it were whole."""
    whole = table("user_id,item_id,note", [(user, item, f"{moment}-note") for user, item, moment in events()])
    folder = write(tmp_path / "raw", whole[:-cut])
    try:
        found = ingested(folder, tmp_path, order="file")
    except BadInput as error:
        assert said in str(error)
    else:
        assert said in found.report["remarks"][0] and found.report["remarks"][0] in found.report["notes"]


def test_rows_without_ids_are_set_aside_up_to_a_share(tmp_path: Path) -> None:
    """Prevents: one anonymous click in a thousand that stops the night, and a tenth of the rows gone in silence."""
    rows = [*events() * 30, ("", "p01", 1_600_000_000), ("u01", "NaN", 1_600_000_000)]
    folder = write(tmp_path / "raw", table("user_id,item_id,timestamp", rows))
    found = ingested(folder, tmp_path)
    account = found.report["conservation"]["interactions"]
    assert (account["kept"], account["set_aside"], account["such_as"]) == (
        2160,
        {"missing_id": 2},
        ["row 2161", "row 2162"],
    )
    with pytest.raises(BadInput, match="1 rows have no user_id: row 2161"):
        ingested(folder, tmp_path, max_set_aside_share=0.0005)


# ---- times


@pytest.mark.parametrize(
    "form",
    [
        lambda moment: f"{iso(moment)} UTC",
        lambda moment: iso(moment).replace(" ", "T") + "Z",
        lambda moment: iso(moment + 7200) + "+02",
        lambda moment: iso(moment + 7200).replace(" ", "T") + "+0200",
        lambda moment: iso(moment - 12600) + " -03:30",
        lambda moment: iso(moment).replace("-", "").replace(":", "").replace(" ", "T") + "Z",
        lambda moment: iso(moment) + ".000000 UTC",
        lambda moment: '"' + iso(moment).replace(" ", "T") + ',5+00"',
        lambda moment: iso(moment).replace("-", "/"),
        lambda moment: iso(moment).replace("-", "").replace(":", "").replace(" ", ""),
        lambda moment: iso(moment + 3600).replace(" ", "T") + "+01:00[Europe/Berlin]",
        lambda moment: iso(moment) if moment % 2 else iso(moment).replace(" ", "T") + "Z",
        lambda moment: moment * 1_000_000_000,
        lambda moment: f"{moment}.25",
    ],
)
def test_times_in_every_form_of_iso_8601_order_the_histories(tmp_path: Path, form: Callable[[int], object]) -> None:
    """Prevents: a time column dropped, and the order of the file taken for the order of events."""
    found = read(write(tmp_path / "raw", timed(form, "event_time")), tmp_path)
    assert found.histories == TRUTH
    first = found.interactions["timestamp"].min()
    assert str(first).startswith("2020-09-13 12:26")


@pytest.mark.parametrize(
    "form",
    [
        lambda moment: f"{iso(moment)} CET",
        lambda moment: f"{iso(moment)[8:10]}.{iso(moment)[5:7]}.2020",
        lambda moment: f"{iso(moment)[5:7]}/{iso(moment)[8:10]}/2020 {iso(moment)[11:]}",
        lambda moment: f'"Sep {iso(moment)[8:10]}, 2020"',
        lambda moment: f"{moment:.5E}",
        lambda moment: iso(moment) if moment % 3 else "yesterday",
    ],
)
@pytest.mark.parametrize("column", ["event_time", "gekauft_am"])
def test_what_looks_like_a_time_and_cannot_be_read_is_refused(
    tmp_path: Path, form: Callable[[int], object], column: str
) -> None:
    """Prevents: an order that is invented because a date was written in a way that could mean two days."""
    if column == "gekauft_am" and "E+" in str(form(0)):
        pytest.skip("without a name, a number is no time")
    refused(write(tmp_path / "raw", timed(form, column)), f"column '{column}' looks like the time, and cannot be read")


def test_a_time_is_found_by_what_it_holds(tmp_path: Path) -> None:
    """Prevents: a column that is not called time left aside, and the order of the file in its place."""
    found = read(write(tmp_path / "raw", timed(iso, "gekauft_am")), tmp_path)
    assert found.histories == TRUTH
    assert "Column 'gekauft_am' is taken for the time, by what stands in it." in found.said
    assert "timestamp from 'gekauft_am' (e.g. '2020-" in found.said


@pytest.mark.parametrize(
    ("form", "counts"),
    [
        (lambda moment: moment * 1000 if moment % 5 else moment, "in epoch milliseconds"),
        (lambda moment: moment * 1000 if moment % 5 else moment * 1_000_000, "in epoch microseconds"),
        (lambda moment: moment if moment % 5 else iso(moment)[:10].replace("-", ""), "in the form YYYYMMDD"),
        (lambda moment: moment if moment % 5 else 0, "are 0"),
    ],
    ids=["seconds", "microseconds", "dates", "zero"],
)
def test_mixed_units_are_refused_with_counts(tmp_path: Path, form: Callable[[int], object], counts: str) -> None:
    """Prevents: each user's newest event first, and placeholders as the oldest."""
    refused(write(tmp_path / "raw", timed(form)), "of different kinds in one column", counts, "row ")


@pytest.mark.parametrize("form", [lambda moment: 202009, lambda moment: moment // 86400, lambda moment: moment + 10**9])
def test_times_outside_of_1990_to_tomorrow_stop_the_graph(tmp_path: Path, form: Callable[[int], object]) -> None:
    """Prevents: months, days since 1970 and a future taken for times, with a warning in a file."""
    found = read(write(tmp_path / "raw", timed(form)), tmp_path)
    assert "BEWARE: 72 times lie before 1990 or after tomorrow" in found.said
    with pytest.raises(GateRefused, match="times_plausible"):
        validate(Validate(), Layout(tmp_path, "small"))


# ---- order


def stepping(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int, int]]:
    """Each user's rows with a step that starts again after three."""
    taken: Counter[str] = Counter()
    stepped = []
    for user, item, moment in sorted(rows, key=lambda row: row[2]):
        stepped.append((user, item, moment, taken[user] % 3))
        taken[user] += 1
    return stepped


def test_a_position_that_starts_again_is_no_order(tmp_path: Path) -> None:
    """Prevents: sessions interleaved by their steps. With a time, the time orders and the step breaks its ties."""
    rows = stepping(events())
    untimed = [(user, item, step) for user, item, _, step in rows]
    folder = write(tmp_path / "a", table("user_id,item_id,step", untimed))
    refused(folder, "positions repeat within a user", "12 of 12 users")
    section = {"items": "items.csv", "interactions": "events.csv", "columns": {"position": "step"}}
    assert ingested(folder, tmp_path, **section, order="file").histories == TRUTH
    sessions = [(user, item, moment // 270_000 * 270_000, step) for user, item, moment, step in rows[::-1]]
    timed_ = read(write(tmp_path / "b", table("user_id,item_id,timestamp,step", sessions)), tmp_path)
    assert timed_.report["interactions"]["order"] == "timestamp"
    assert "12 users have a position twice" in timed_.said
    ordered = sorted(sessions, key=lambda row: (row[2], row[3]))
    assert timed_.histories["u03"] == [item for user, item, _, _ in ordered if user == "u03"]


def test_file_order_is_an_order_only_by_your_word(tmp_path: Path) -> None:
    """Prevents: `idiom init` that decides so for you."""
    folder = write(tmp_path / "raw", table("user_id,item_id", [row[:2] for row in events()]))
    found = suggest(folder)
    assert "order" not in found["params"]["ingest"]
    assert any(line.startswith("ORDER UNKNOWN") and "ingest.order" in line for line in found["lines"])
    with pytest.raises(BadInput, match="the order of the histories is not known"):
        read(folder, tmp_path)
    assert read(folder, tmp_path, order="file").report["interactions"]["order"] == "file"


# ---- ids


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


# ---- values


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


# ---- encodings and packing


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


# ---- several files


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


# ---- events


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
