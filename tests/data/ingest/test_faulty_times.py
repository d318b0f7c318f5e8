"""Times in every writing and none, positions that start again: the right order, or the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from components.data.ingest.sniff import suggest
from components.data.validate.validate import validate
from components.errors import BadInput, GateRefused
from components.settings.params import Validate
from components.storage.layout import Layout
from tests.data.ingest.raw_shop import TRUTH, events, ingested, iso, read, refused, table, timed, write


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
