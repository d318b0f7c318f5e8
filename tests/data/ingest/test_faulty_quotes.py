"""Stray quotes, blank lines, repeated headers and cut files: the right rows, or the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BadInput
from tests.data.ingest.raw_shop import ITEMS, TRUTH, events, ingested, noted, read, refused, table, write


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
