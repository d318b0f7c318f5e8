"""The measures of drift: quiet where nothing changed, each loud for what it is named after; the page in a browser."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.data.canonical.coded import Coded
from components.data.canonical.shift import popularity_buckets, stability
from components.errors import BadInput
from components.monitoring import history
from components.monitoring.drift import MEANINGS, Hits, measure
from components.monitoring.history import HISTORY, Record
from components.monitoring.page import page
from components.monitoring.stream import Stream
from components.settings.operating import Monitor
from tests.browser import faint, opened, overflowing

RULES = Monitor()
ITEMS = 300
START = datetime(2024, 1, 1, tzinfo=UTC)


def stream(seed: int, events: int = 3000, demand: np.ndarray[Any, Any] | None = None, a_day: int = 1) -> Stream:
    """Events of one shop: item n is taken as 1 / (5 + n); its category is n % 10, its text n characters long."""
    drawn = np.random.default_rng(seed)
    p = 1.0 / (5 + np.arange(ITEMS)) if demand is None else demand
    numbers = np.arange(events)
    days = numbers // (50 * a_day)
    return Stream(
        users=numbers // a_day % 700,
        items=drawn.choice(ITEMS, events, p=p / p.sum()),
        days=days,
        moments=days * 86_400_000_000,
        categories=np.arange(ITEMS) % 10,
        lengths=np.arange(ITEMS),
        covered=np.arange(ITEMS) < 290,
    )


def drifted(now: Stream, hits: Hits | None = None, rules: Monitor = RULES) -> set[str]:
    return {name for name, each in measure(stream(1, 9000), now, rules, hits).items() if each.drifted}


def test_nothing_drifts_where_nothing_changed() -> None:
    """Prevents: an alarm a week. Fixed seeds; the rate over 200 weeks is benchmarks/drift.py."""
    assert [drifted(stream(seed, 600)) for seed in range(2, 12)] == [set()] * 10


ZIPF = 1.0 / (5 + np.arange(ITEMS))
CHANGED = {
    "items": stream(3, demand=ZIPF[::-1]),
    "categories": stream(4, demand=ZIPF * np.where(np.arange(ITEMS) % 10 < 3, 3.0, 1.0)),
    "text_length": stream(5, demand=ZIPF * np.where(np.arange(ITEMS) > 150, 4.0, 1.0)),
    "session_length": stream(6, a_day=3),
    "popularity": stream(7, demand=np.where(np.arange(ITEMS) < 3, 1.0, 0.003)),
    "coverage": stream(8, demand=np.where(np.arange(ITEMS) >= 290, 0.06, ZIPF)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_each_measure_sees_what_it_is_named_after(name: str) -> None:
    """Prevents: a measure that never speaks."""
    found = measure(stream(1, 9000), CHANGED[name], RULES)[name]
    assert found.drifted and found.value is not None and found.value >= found.threshold, found


def test_lost_hits_are_a_drift_and_few_users_are_none() -> None:
    """Prevents: an alarm over three users who took something else."""
    now = stream(9, 600)
    assert drifted(now, Hits(asked=500, now=0.04, before=0.09)) == {"hits"}
    assert drifted(now, Hits(asked=12, now=0.0, before=0.09)) == set()
    assert drifted(now, Hits(asked=500, now=0.085, before=0.09)) == set()


def test_a_significant_trifle_is_none_and_too_little_says_nothing() -> None:
    """Prevents: an alarm over a tenth of a percent of a million events; a verdict on ten events."""
    slightly = stream(10, 200_000, demand=ZIPF * np.where(np.arange(ITEMS) % 10 < 3, 1.1, 1.0))
    found = measure(stream(1, 200_000), slightly, RULES)["categories"]
    assert found.p is not None and found.p < 1e-6 and not found.drifted
    few = measure(stream(1), stream(2, 10), RULES)
    assert all(each.value is None and not each.drifted for each in few.values()) and set(few) == set(MEANINGS)


def test_thresholds_are_settings() -> None:
    """Prevents: a threshold in params.yaml that nothing reads."""
    loose = replace(
        RULES, max_items_shift=99.0, max_categories_shift=99.0, max_text_shift=1.0, max_popularity_shift=1.0
    )
    assert drifted(CHANGED["items"]) > {"items"} and drifted(CHANGED["items"], rules=loose) <= {"coverage"}


def test_the_index_is_zero_in_the_mean_and_known_in_a_case() -> None:
    """Prevents: small windows that look shifted. By hand: (.5-.25) ln 2 + (.5-.75) ln(2/3) = .2747."""
    assert stability([2_500_000, 7_500_000], [5_000_000, 5_000_000]) == pytest.approx(0.27465, abs=1e-4)
    drawn = np.random.default_rng(0)
    same = [stability(drawn.multinomial(5000, [0.1] * 10), drawn.multinomial(200, [0.1] * 10)) for _ in range(300)]
    assert np.mean(same) < 0.025 < 9 / 200, "without the correction the mean is 9/200"


def test_items_of_equal_demand_stand_in_one_bucket() -> None:
    """Prevents: groups that the order of item numbers decides."""
    counts = np.array([50, 10, 10, 10, 10, 10, 0])
    assert popularity_buckets(counts, 4).tolist() == [0, 2, 2, 2, 2, 2, 4]


def test_a_stream_is_what_the_tables_say() -> None:
    """Prevents: windows that overlap, sessions over midnight, a text or category of the wrong item."""
    times = [START + timedelta(hours=hours) for hours in (0, 1, 30, 31)]
    rows = pl.DataFrame(
        {"user": [0, 0, 0, 1], "item": [1, 0, 1, 1], "position": [0, 1, 2, 0], "timestamp": times},
        schema={"user": pl.UInt32, "item": pl.UInt32, "position": pl.Int32, "timestamp": pl.Datetime("us", "UTC")},
    )
    coded = Coded(rows, pl.Series(["u", "v"]), pl.Series(["a", "b"]))
    items = pl.DataFrame(
        {"item_id": ["b", "a", "z"], "title": ["long", None, "x"], "categories": [["k", "l"], None, ["m"]]}
    )
    found = Stream.of(coded, items, {"b"})
    assert found.lengths.tolist() == [0, 4] and found.covered.tolist() == [False, True]
    assert found.categories.tolist() == [-1, 0]
    assert found.sessions().tolist() == [2, 1, 1]
    assert found.between(times[0], times[2]).items.tolist() == [0, 1]  # after the first, up to and with the third
    assert len(found.between(times[3], times[3])) == 0


def records(folder: Path) -> list[Record]:
    """Three windows, the last one drifted."""
    found: list[Record] = []
    for week, now in enumerate((stream(2, 600), stream(3, 600), CHANGED["items"])):
        end = START + timedelta(days=7 * week)
        record = Record.of("4", end - timedelta(days=7), end, len(now), measure(stream(1, 9000), now, RULES))
        found = history.add(folder, record)
    return found


def test_a_window_is_kept_once(tmp_path: Path) -> None:
    """Prevents: an hourly monitor with 24 equal points a day; a damaged history that is begun anew in silence."""
    found = records(tmp_path)
    assert records(tmp_path) == found and len(found) == 3
    assert [bool(each.drifted) for each in found] == [False, False, True]
    (tmp_path / HISTORY).write_text("{half")
    with pytest.raises(BadInput, match="history"):
        history.read(tmp_path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_answers_first_and_reads_everywhere(browser: Any, tmp_path: Path, scheme: Any) -> None:
    """Prevents: a page that scrolls sideways, grey on grey, asks a server, or hides what has drifted."""
    found = records(tmp_path)
    file = tmp_path / "drift.html"
    file.write_text(page(found, dataset="demo"), encoding="utf-8")
    for width in (390, 1280):
        with opened(browser, file, width=width, scheme=scheme) as shown:
            assert shown.locator("h1").inner_text().startswith("Drift: items")
            assert overflowing(shown) == [] and faint(shown) == []
            first = shown.locator("article.check").first
            assert first.get_attribute("id") in found[-1].drifted
            assert f"at least {found[-1].measures[found[-1].drifted[0]]['threshold']:g}" in first.inner_text()
            assert first.locator("circle").count() == 3 and first.locator("circle.drifted").count() == 1
            assert shown.locator("tbody tr").count() == 3


def test_what_was_not_measured_has_no_figure(tmp_path: Path) -> None:
    """Prevents "0.000, below 0" beside a measure of a week with too few events to say anything."""
    few = Record.of("4", START, START + timedelta(days=7), 20, measure(stream(1, 9000), stream(2, 20), RULES))
    text = page(history.add(tmp_path, few), dataset="demo")
    assert "not measured" in text and "0.000" not in text
