"""The page of what was checked and Great Expectations' own pages, as a reader has them: in a browser, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.data.validate.checks import CHECKS
from components.data.validate.validate import validate
from components.errors import GateRefused
from components.settings import params
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from tests.browser import faint, opened, overflowing
from tests.data.tables_of import shop, workspace


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A shop that passes with two warnings: an item without a title, and three interactions without their item."""
    items, rows = shop()
    title = pl.when(pl.col("item_id") == "i02").then(None).otherwise(pl.col("title") + " <3")
    items = items.with_columns(title=title, brand=pl.lit("Brand"))
    layout = workspace(tmp_path_factory.mktemp("page"), items.filter(pl.col("item_id") != "i03"), rows)
    validate(params.Validate(), layout, made=[("Run", "2026-11-30 14:50 UTC")])
    return layout


def test_the_page_says_what_the_verdict_says_and_names_rows(browser: Any, layout: Layout) -> None:
    """Prevents "Failed" above data that passed with warnings, "100 % of 1 total rows" for one missing title, and a
    warning without the rows that it means."""
    verdict = read_json(layout.verdict)
    assert verdict["warnings"] == ["titles_present", "no_orphans"]
    with opened(browser, layout.validation) as shown:
        assert shown.locator("h1").inner_text() == "The data pass, with 2 warnings."
        titles, orphans = shown.locator("article.check").all()
        assert "1 of 14 items (7.14%, at most 0%)" in titles.inner_text() and "items.title" in titles.inner_text()
        assert titles.locator("tbody td").all_inner_texts() == ["i02"]
        assert "3 of 72 interactions" in orphans.inner_text()
        assert orphans.locator("thead th").all_inner_texts() == ["user_id", "item_id", "position", "timestamp"]
        assert CHECKS["no_orphans"].mend.split(",")[0] in orphans.inner_text()
        met = shown.locator("table.checks").first.locator("tbody tr")
        skipped = shown.locator("table.checks").nth(1).locator("tbody tr")
        assert 2 + met.count() + skipped.count() == len(CHECKS)
        assert "Failed" not in shown.locator("body").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_on_a_phone_in_the_dark_and_on_paper(browser: Any, layout: Layout, scheme: Any) -> None:
    """Prevents a page that scrolls sideways, grey on grey, and a finding in two halves on paper."""
    for width in (390, 1280):
        with opened(browser, layout.validation, width=width, scheme=scheme) as shown:
            assert overflowing(shown) == [] and faint(shown) == []
    with opened(browser, layout.validation, width=672) as shown:
        shown.emulate_media(media="print")
        styles = "(each) => getComputedStyle(each).breakInside"
        assert shown.locator("article.check").first.evaluate(styles) == "avoid" and faint(shown) == []


def test_great_expectations_asks_no_server_and_agrees_with_the_verdict(browser: Any, layout: Layout) -> None:
    """Prevents sixteen requests to delivery networks for each page of Data Docs, a counter of readers among them; and a
    status that severities do not decide."""
    pages = sorted(layout.data_docs.rglob("*.html"))
    assert len(pages) == 7
    for path in pages:
        with opened(browser, path) as shown:  # fails for a request or an error
            text = shown.locator("body").inner_text()
            assert "newsletter" not in text and "2000-01-01" not in text, path
            assert shown.locator(".note a").get_attribute("href").endswith("../report.html")
            shown.locator(".note a").click()
            assert shown.locator("h1").inner_text() == "The data pass, with 2 warnings."
    index = (layout.data_docs / "index.html").read_text(encoding="utf-8")
    for suite, status in (("catalogue", "passed with warnings"), ("leakage", "passed")):
        assert f"{suite}</a>: {status}<" in index
        (page,) = layout.data_docs.glob(f"validations/{suite}/**/*.html")
        with opened(browser, page) as shown:
            assert f"Status: {status}" in shown.locator("body").inner_text()


def test_refused_data_have_a_page_with_the_time_of_the_run(browser: Any, tmp_path: Path) -> None:
    """Prevents a refusal dated 2000-01-01: nothing follows that could stamp its page."""
    items, rows = shop()
    layout = workspace(tmp_path, items, rows)
    with pytest.raises(GateRefused, match=r"report\.html"):
        validate(params.Validate(min_users=1000), layout, made=[("Run", "2026-11-30 14:50 UTC"), ("Commit", "3c24dfb")])
    with opened(browser, layout.validation) as shown:
        assert shown.locator("h1").inner_text() == "The data are refused: Enough users."
        assert "2026-11-30 14:50 UTC" in shown.locator(".facts").inner_text()
        assert "at least 1000" in shown.locator("article.check").inner_text()


def test_a_page_of_data_that_pass_has_no_clock(layout: Layout) -> None:
    """Prevents outputs that differ between two runs of the same data."""
    assert "2026-11-30" not in layout.validation.read_text(encoding="utf-8")
