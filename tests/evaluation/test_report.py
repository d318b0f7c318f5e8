"""The report, as a reader has it: in a browser, offline, wide and narrow, light, dark and on paper."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from components.evaluation import summary
from components.evaluation.contenders import CONTENDERS, labels
from components.evaluation.metrics import LEAST_USERS
from components.evaluation.report import page
from components.pages.stamp import stamped
from tests.browser import faint, opened, overflowing
from tests.evaluation.made_report import TRUST, examples, metrics, with_voices


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return dict(metrics())


@pytest.fixture(scope="module")
def path(found: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(found, examples(), dataset="demo"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def of_voices(found: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of a run with a ranker, and what voices.json holds."""
    path = tmp_path_factory.mktemp("voices") / "report.html"
    made, voices = with_voices(found)
    path.write_text(page(made, examples(), dataset="demo", voices=voices), encoding="utf-8")
    return path, voices


def test_what_each_voice_adds_is_drawn_and_said(browser: Any, of_voices: tuple[Path, dict[str, Any]]) -> None:
    """Prevents a ranker of which nobody can say what it owes to whom: what is missing without a voice, who found the
    hits, pairs, slices, both masks and both orders of ties."""
    path, voices = of_voices
    with opened(browser, path) as shown:
        plot = shown.locator(".forest", has_text="all together minus all without one")
        rows = {row.locator("th").inner_text(): row for row in plot.locator("tbody tr").all()}
        assert set(rows) == {"graph", "text", "language model"}
        assert "not taught again" in plot.locator("caption").inner_text()
        zero = float(plot.locator(".zero").first.get_attribute("x1"))
        assert float(rows["graph"].locator(".whisker").get_attribute("x1")) > zero
        assert rows["text"].locator("td").nth(1).inner_text() in (".0000", "+.0000")
        found = shown.locator("table.stack", has_text="Who found the")
        hits, shares = voices["found_by"]["hits"], voices["found_by"]["voices"]
        assert f"{hits} hits" in found.locator("caption").inner_text()
        cells = {
            row.locator("th").inner_text(): row.locator("td").all_inner_texts()
            for row in found.locator("tbody tr").all()
        }
        assert cells["graph"] == ["100.0%", f"{shares['graph']['alone']:.1%}"] and cells["text"][1] == "0.0%"
        captions = shown.locator("h2", has_text="Voices in detail").locator("~ table caption").all_inner_texts()
        wanted = [
            "Voices, seen items",
            "Pairs:",
            "Voices under both orders",
            "Voices by history length",
            "Voices by target",
        ]
        assert all(any(each.startswith(start) for each in captions) for start in wanted)
        assert any("times the target was seen in training" in each for each in captions)


def test_the_first_screen_answers(browser: Any, path: Path, found: dict[str, Any]) -> None:
    """Prevents a page that begins with a table, or whose sentence is not the one of the figures."""
    claim = summary.claims(found)[0]
    with opened(browser, path) as shown:
        assert shown.locator("h1").inner_text() == "The model loses to the item graph, which needs no training."
        assert shown.locator(".answer p").inner_text() == f"{claim.figures}."
        labelled = r"NDCG@10 \.\d{4} against \.\d{4} \(difference −\.\d{4}, 95 % −\.\d{4} to −\.\d{4}\)"
        assert re.search(labelled, claim.figures)
        assert shown.locator(".tile h2").all_inner_texts() == ["Better?", "Where?", "Can this be trusted?"]
        assert shown.locator(".tile .says").all_inner_texts()[::2] == ["No, it is worse", "With care"]
        for part in (".answer", ".tiles", ".forest caption", ".forest tbody tr:first-child"):
            box = shown.locator(part).first.bounding_box()
            assert box and box["y"] + box["height"] <= 800, part


def test_differences_are_drawn_around_zero_and_slices_have_users_and_intervals(
    browser: Any, path: Path, found: dict[str, Any]
) -> None:
    """Prevents an axis from 0 to 1, on which model and graph coincide, and a slice whose few users nobody sees."""
    groups = {f"{slicing}: {name}": each for slicing, of in found["slices"].items() for name, each in of.items()}
    with opened(browser, path) as shown:
        first = shown.locator(".forest").first
        zero = float(first.locator(".zero").first.get_attribute("x1"))
        assert 5 < zero < 95
        rows = {row.locator("th").inner_text(): row for row in first.locator("tbody tr").all()}
        assert set(rows) == {"All users", *groups}
        for label, group in groups.items():
            low, high = group["against"]["item_graph"]["ndcg_at_10"]["interval"]
            drawn = [float(rows[label].locator(".whisker").get_attribute(end)) for end in ("x1", "x2")]
            assert [end > zero for end in drawn] == [low > 0, high > 0], label
            assert rows[label].locator("td").last.inner_text() == f"{group['users']:,}"
        assert shown.locator(".forest").nth(1).locator("tbody th").all_inner_texts() == [
            f"minus {label}" for label in list(labels().values())[1:]
        ]
        table = shown.locator("table.stack", has_text="History length")
        cells = table.locator("tbody tr").first.locator("td").all_inner_texts()
        assert len(cells) == 1 + len(CONTENDERS)
        assert all(re.fullmatch(r"\.\d{4}\n\.\d{4} to \.\d{4}", cell) for cell in cells[1:]), cells
        aligned = shown.eval_on_selector_all("td.n", "(all) => all.map((each) => getComputedStyle(each).textAlign)")
        assert set(aligned) == {"right"}


def test_a_printed_page_can_be_traced(browser: Any, path: Path, tmp_path: Path) -> None:
    """Prevents a page nobody can say the origin of: which checks failed, which rows went, which data, code and day."""
    with opened(browser, path) as shown:
        box = shown.locator(".box").inner_text()
        for said in ("Few ties in time: Observed 0.66", "23 of 25 checks", "a drawn order", "ratings.csv", "seed 17"):
            assert said in box, said
        for digest in ("data_digest", "settings_digest", "train_key"):
            assert TRUST[digest][:16] in box
        assert "without an id\n\t−12" in box.replace("\n\n", "\n") or re.search(r"without an id\s+−12", box)
        assert "Mend: bring times." in box, "the warning in full"
        assert "Not in this file" in box
    copy = tmp_path / "stamped.html"
    facts = [("Registered", "idiom version 3, 2026-11-30 14:50 UTC"), ("Commit", "3c24dfb <b>")]
    copy.write_text(stamped(path.read_text(encoding="utf-8"), facts), encoding="utf-8")
    with opened(browser, copy) as shown:
        box = shown.locator(".box").inner_text()
        assert "2026-11-30 14:50 UTC" in box and "3c24dfb <b>" in box and "Not in this file" not in box
    with pytest.raises(ValueError, match="0 places"):
        stamped("<p>another page</p>", facts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_on_a_phone_and_every_text_is_readable(
    browser: Any, path: Path, of_voices: tuple[Path, Any], scheme: Any
) -> None:
    """Prevents a page that scrolls sideways at 390 px, and grey on grey."""
    for width, made in itertools.product((390, 1280), (path, of_voices[0])):
        with opened(browser, made, width=width, scheme=scheme) as shown:
            assert overflowing(shown) == [] and faint(shown) == []
            assert shown.evaluate("document.documentElement.scrollWidth") == width


def test_paper_begins_with_the_answer_and_cuts_no_card(browser: Any, path: Path) -> None:
    """Prevents cards in two halves, and a first page with nothing below the tiles."""
    with opened(browser, path, width=672) as shown:  # A4 less its margins
        shown.emulate_media(media="print")
        styles = "(each) => getComputedStyle(each).breakInside"
        for part in (".tile", ".answer", ".user", "tr", "figure", ".stack", ".facts > div"):
            assert shown.locator(part).first.evaluate(styles) == "avoid", part
        assert shown.locator(".box").evaluate("(each) => getComputedStyle(each).borderTopStyle") == "none"
        forest = shown.locator(".forest").first.bounding_box()
        assert forest and forest["y"] + forest["height"] < 1000, "the picture is on the first page"
        assert faint(shown) == []


def test_titles_are_text_and_never_markup(path: Path) -> None:
    """Prevents a product title, or the name of a file, that runs as code on a reviewer's machine."""
    text = path.read_text(encoding="utf-8")
    assert "Title &lt;b&gt;of" in text and "<b>" not in text


def test_good_news_unclear_news_and_too_few_users_have_their_pages(browser: Any, tmp_path: Path) -> None:
    """Prevents a page that only knows one ending; what is not known of trust is said to be unknown."""
    for number, (made, said, trusted) in enumerate(
        (
            (metrics(found=0.6), "The model beats the item graph, which needs no training.", "With care"),
            (metrics(found=0.25), "No clear difference between the model and the item graph", "With care"),
            (metrics(users=LEAST_USERS - 1, trust={}), "Too few test users", "Not known"),
        )
    ):
        path = tmp_path / f"{number}.html"
        path.write_text(page(made, [], dataset="demo"), encoding="utf-8")
        with opened(browser, path, width=390) as shown:
            assert said in shown.locator("h1").inner_text()
            assert shown.locator(".tile .says").last.inner_text() == trusted
            assert overflowing(shown) == []
