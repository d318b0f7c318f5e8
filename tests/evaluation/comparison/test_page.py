"""The page of a comparison, as a reader has it: in a browser, offline, wide and narrow, light, dark and on paper."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluation.comparison.compare import Comparison, compare
from components.evaluation.comparison.page import page
from components.media.pictures import thumbnail
from tests.browser import faint, opened, overflowing
from tests.evaluation.comparison.made import ITEMS, pair_of_sides, side
from tests.media.test_media import png


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(pair_of_sides(), seed=17)


@pytest.fixture(scope="module")
def path(found: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "compare.html"
    made = [{"text": "Made on 2026-11-30 by", "code": "idiom compare 11 12"}]
    path.write_text(page(found, dataset="demo", provenance=made, sample=80), encoding="utf-8")
    return path


def test_the_first_screen_answers(browser: Any, path: Path, found: Comparison) -> None:
    """Prevents a page whose answer is below the fold, or is not the one of the figures."""
    overall = found.pairs[0].overall["ndcg_at_10"]
    with opened(browser, path) as shown:
        said = shown.locator("h1").inner_text()
        assert said == f"Version 12 finds {overall.difference / overall.a:.1%} more than version 11.".replace("%", " %")
        assert f"{overall.b:.4f}"[1:] in shown.locator(".answer p").inner_text()
        assert shown.locator(".tile h2").all_inner_texts() == ["Better?", "Where?", "Can it be trusted?"]
        assert shown.locator(".tile .says").first.inner_text() == "Yes"
        assert "the item graph, which needs no training, is ahead" in shown.locator(".tile").first.inner_text().lower()
        for part in (".answer", ".tiles", ".forest caption", ".forest tbody tr:first-child"):
            box = shown.locator(part).first.bounding_box()
            assert box and box["y"] + box["height"] <= 800, part


def test_table_and_plot_show_what_was_found(browser: Any, path: Path, found: Comparison) -> None:
    """Prevents whiskers, rows or columns that belong to others: each interval lies where its figures say."""
    with opened(browser, path) as shown:
        assert shown.locator(".forest tbody tr").count() == 1 + len(found.pairs[0].slices)
        zero = float(shown.locator(".forest .zero").first.get_attribute("x1"))
        for row in shown.locator(".forest tbody tr").all():
            low, high = (float(row.locator(".whisker").get_attribute(end)) for end in ("x1", "x2"))
            text = row.locator("svg").get_attribute("aria-label")
            numbers = [float(each.replace("−", "-")) for each in re.findall(r"[+−]?\.\d{4}", text)]
            assert (low > zero, high > zero) == (numbers[1] > 0, numbers[2] > 0), text
        heads = shown.locator(".figures thead th").all_inner_texts()
        assert heads == ["Who", "NDCG@10", "Recall@10", "MRR@10"]
        rows = shown.locator(".figures tbody th").all_inner_texts()
        assert rows == ["version 11", "version 12", "item graph", "version 12 minus version 11"]
        assert shown.locator(".figures tr.side-1 strong").count() == 3, "bold is what the interval calls better"
        assert shown.locator(".figures tr.side-0 strong").count() == 0


def test_pictures_stand_beside_the_items_that_have_one(browser: Any, tmp_path: Path) -> None:
    """Prevents: pictures of other items, a page that asks for them or grows with the catalogue, and items without one
    that lose their words."""
    content = thumbnail(png((200, 30, 30), (90, 60)), side=64, most_pixels=10_000, seconds=5)
    pictures = dict.fromkeys(ITEMS[:45], content)
    a, b = (replace(each, pictures=pictures) for each in pair_of_sides(users=300))
    path = tmp_path / "compare.html"
    path.write_text(page(compare([a, b], seed=17), dataset="demo", sample=40), encoding="utf-8")
    for width in (1280, 390):
        with opened(browser, path, width=width) as shown:
            taken = shown.locator(".user li.hit", has=shown.locator(".picture")).first
            image = taken.locator(".picture").evaluate("each => getComputedStyle(each).backgroundImage")
            assert image == f'url("data:image/jpeg;base64,{b64encode(content).decode()}")'
            assert taken.locator(".picture").bounding_box()["width"] == 48
            assert shown.locator("#shown .picture").count() > 0
            assert shown.locator(".user li", has_not=shown.locator(".picture")).locator(".words").count() > 0
            assert not overflowing(shown) and not faint(shown)


def test_voices_and_cost_of_each_side(browser: Any, tmp_path: Path) -> None:
    """Prevents a ranker of which nobody sees which voice it could do without, or what a version cost to train."""
    a, b = pair_of_sides(users=600)
    over = {
        name: {"difference": gain, "interval": [gain - 0.01, gain + 0.01], "verdict": verdict}
        for name, gain, verdict in (
            ("graph", 0.02, "better"),
            ("text", 0.3, "better"),
            ("model", 0.0, "no clear difference"),
        )
    }
    heard = {
        "hybrid_over": over,
        "mode": "rank",
        "masked": {"hybrid": {"ndcg_at_10": 0.5}, "graph": {"ndcg_at_10": 0.48}},
    }
    new = replace(b, voices=heard, facts={"cost": {"seconds": 1234.4, "cpu_seconds_per_1000_users_scored": 0.217}})
    (tmp_path / "page.html").write_text(page(compare([a, new], seed=1), dataset="demo"), encoding="utf-8")
    with opened(browser, tmp_path / "page.html", width=390) as shown:
        assert overflowing(shown) == []
        plot = shown.locator("figure.forest").nth(1)
        assert "version 12: NDCG@10 of the ranker over all voices, .5000" in plot.inner_text()
        assert plot.locator("tbody th").all_inner_texts() == ["graph alone .4800", "text"], "the least first"
        assert shown.get_by_text("1,234").count() == 1 and shown.get_by_text("not known").count() == 2
        assert shown.locator("tr", has_text="CPU seconds of scoring 1,000 users").get_by_text("0.22").count() == 1


def test_users_are_looked_up_by_words_and_by_slices(browser: Any, path: Path, found: Comparison) -> None:
    """Prevents a look-up that finds nobody, or shows one user's lists under another's name."""
    ids = found.users["user_id"].to_list()
    with opened(browser, path) as shown:
        names = shown.locator("#found button > span:first-child")
        assert names.count() == 80 and "80 of 80 users" in shown.locator("#count").inner_text()
        wanted = names.nth(41).inner_text()
        shown.locator("#query").fill(wanted.upper())
        assert names.all_inner_texts() == [wanted]
        row = found.users.row(ids.index(wanted), named=True)
        text = shown.locator("#shown").inner_text()
        assert f"User {wanted}" in text and f"words {row['target']}" in text
        for number, each in enumerate(found.sides):
            listed = each.users.row(ids.index(wanted), named=True)["recommended"][:10]
            column = shown.locator("#shown .columns > div").nth(1 + number)
            own = "words" if number == 0 else "other words"
            assert column.locator(".words").all_inner_texts() == [f"{own} {item}" for item in listed]
            assert column.locator(".hit").count() == (row["target"] in listed)
            assert each.name in column.locator("h3").inner_text()
        shown.locator("#query").fill("")
        chip = shown.get_by_role("button", name="history length: 9 and more")
        chip.click()
        assert chip.get_attribute("aria-pressed") == "true"
        long = names.all_inner_texts()
        assert 0 < len(long) < 80
        slices = dict(zip(ids, found.users["slice/history length"], strict=True))
        assert {slices[name] for name in long} == {"9 and more"}
        shown.locator("#query").fill("no such words")
        assert names.count() == 0 and "Nobody fits" in shown.locator("#shown").inner_text()


def test_titles_are_text_and_never_markup(browser: Any, path: Path) -> None:
    """Prevents a product title that runs as code on a reviewer's machine."""
    with opened(browser, path) as shown:
        assert shown.locator("#shown .title b, .user .title b").count() == 0
        assert "Title <b>of</b> i0" in shown.locator("#shown .title").first.inner_text()
        assert "<b>of" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_on_a_phone_and_every_text_is_readable(browser: Any, path: Path, scheme: Any) -> None:
    """Prevents a page that scrolls sideways at 390 px, and grey on grey."""
    with opened(browser, path, width=390, height=844, scheme=scheme) as shown:
        shown.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert overflowing(shown) == [] and shown.evaluate("document.documentElement.scrollWidth") == 390
        assert faint(shown) == []
    with opened(browser, path, scheme=scheme) as shown:
        assert overflowing(shown) == [] and faint(shown) == []


def test_the_keyboard_reaches_everything(browser: Any, path: Path) -> None:
    """Prevents controls that only a mouse can use."""
    with opened(browser, path) as shown:
        reached = set()
        for _ in range(60):
            shown.keyboard.press("Tab")
            reached.add(shown.evaluate("document.activeElement.id || document.activeElement.className || "
                                       "document.activeElement.tagName"))  # fmt: skip
        assert {"query", "chip", "SUMMARY", "BUTTON"} <= reached
        second = shown.locator("#found button").nth(1)
        second.focus()
        shown.keyboard.press("Enter")
        assert second.get_attribute("aria-current") == "true"
        assert second.locator("span").first.inner_text() in shown.locator("#shown h3").first.inner_text()


def test_paper_has_all_users_open_and_cuts_no_row(browser: Any, path: Path) -> None:
    """Prevents printed pages whose users are closed, or whose rows are cut in two."""
    with opened(browser, path) as shown:
        assert shown.locator("details.user:not([open])").count() > 0
        shown.pdf()
        assert shown.locator("details.user:not([open])").count() == 0
        shown.emulate_media(media="print")
        styles = "(each) => getComputedStyle(each).breakInside"
        for part in ("tr", ".user", ".tile", ".answer"):
            assert shown.locator(part).first.evaluate(styles) == "avoid", part
        assert not shown.locator("#lookup").is_visible()
        assert faint(shown) == []


def test_three_sides_worse_unclear_and_few(browser: Any, tmp_path: Path) -> None:
    """Prevents a page that only knows good news: a worse side, a third one, and too few users have their sentences."""
    a, b = pair_of_sides(users=600)
    third = replace(b, name="version 13")
    for sides, said in (
        ([replace(b, name="old"), replace(a, name="new"), third], "New finds"),
        ([a, replace(a, name="twin")], "No clear difference between twin and version 11."),
        ([side("a", np.zeros(9, dtype=int)), side("b", np.ones(9, dtype=int))], "Too few users to tell b from a."),
    ):
        path = tmp_path / "page.html"
        path.write_text(page(compare(sides, seed=1), dataset="demo"), encoding="utf-8")
        with opened(browser, path, width=390) as shown:
            assert said in shown.locator("h1").inner_text()
            assert overflowing(shown) == []
            assert shown.get_by_text("The others against").count() == (len(sides) > 2)


def test_equal_comparisons_are_equal_bytes(found: Comparison, path: Path) -> None:
    """Prevents a page that changes with a clock or an order of dictionaries."""
    again = page(compare(pair_of_sides(), seed=17), dataset="demo", sample=80)
    assert again == page(found, dataset="demo", sample=80)
