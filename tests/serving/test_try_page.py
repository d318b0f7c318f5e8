"""The page to try a model, in a real browser against a real server."""

from __future__ import annotations

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import expect

from components.recommender.catalogue import Catalogue
from components.serving.catalogue_search import CatalogueSearch
from components.serving.page import TryPage
from components.textid.table.id_table import IdTable
from tests.browser import faint, overflowing, visited
from tests.registry.workspace import ITEMS
from tests.serving.conftest import HISTORIES, PICTURE, asked, status

WORDS = ["honey soap", "honey cream", "soap dish", "lemon soap honey", "black towel"]


def test_items_are_found_by_words() -> None:
    """Prevents a search that finds nothing for half a word, and the longest title before the one that was meant."""
    ids = tuple(f"B{number}" for number in range(len(WORDS)))
    titles = {"B4": "A towel of honeycomb weave"}
    search = CatalogueSearch(Catalogue(IdTable(ids, tuple(WORDS), tuple((n,) for n in range(len(WORDS)))), titles))
    assert search("honey", 9) == [0, 1, 3, 4]
    assert search("HON soa", 9) == [0, 3]
    assert search("oap", 9) == [2, 0, 3], "the middle of a word counts, and shorter texts come first"
    assert search("b4", 9) == [4] and search("", 9) == [] and search("oil", 9) == []
    assert search("honey", 2) == [0, 1]


class Slow:
    """A follower whose model takes a while to load."""

    def __init__(self, alias: str, seconds: float) -> None:
        self.alias, self._seconds, self.model = alias, seconds, None if seconds else self._loaded(alias)

    @staticmethod
    def _loaded(alias: str) -> Any:
        columns = {"item_ids": [alias], "textual_ids": [alias], "titles": [alias], "reasons": [""], "sentence": ""}
        return SimpleNamespace(version="1", digest=alias, answers=lambda histories, ks: [columns], pictures={})

    def refresh(self, *, keep: bool) -> bool:
        time.sleep(self._seconds)
        self.model = self._loaded(self.alias)
        return True

    def beside(self, alias: str) -> Slow:
        return Slow(alias, 0.3)


def test_who_asks_while_the_challenger_is_loaded_sees_it_too() -> None:
    """Prevents a page without its challenger for whoever clicks twice in the first seconds: nothing asks again."""
    page: Any = TryPage(Slow("champion", 0.0), name="idiom")  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: page._sides(["i0"], 1), range(4)))
    assert [[side["alias"] for side in each] for each in answers] == [["champion", "challenger"]] * 4


@pytest.mark.server
def test_somebody_tries_it(served: str, two_versions: tuple[Path, dict[str, Any]], browser: Any) -> None:
    """Prevents a page that looks well and recommends nothing: search, click, recommendations of both versions; an
    outside request; and a phone on which it runs out of the screen."""
    first, second = HISTORIES[0]
    titles = {item: asked(f"{served}/items?q={item}")["items"][0] for item in (first, second)}
    for width, scheme in ((1280, "light"), (390, "dark")):
        with visited(browser, served, width=width, scheme=scheme) as page:
            assert page.locator("#empty").is_visible()
            for number, item in enumerate((first, second), 1):
                page.locator("#query").fill(item)
                page.locator("#found button", has_text=item).wait_for()
                page.keyboard.press("Enter")
                expect(page.locator("#history li")).to_have_count(number)
            page.locator(".cards").nth(1).wait_for()
            chosen = page.locator("#history li").first.inner_text()
            assert titles[first]["words"] in chosen
            pictured = page.locator(".cards").first.locator(".picture")
            expect(pictured).to_have_count(4)  # of the six items with a picture two are in the history
            assert pictured.first.evaluate("each => each.decode().then(() => each.naturalHeight)") == 64
            heads = page.locator("#answers h2").all_inner_texts()
            assert [head.split(",")[0] for head in heads] == ["champion", "challenger"]
            expect(page.locator(".cards").first.locator("li")).to_have_count(6)  # all but the two of the history
            assert not overflowing(page) and not faint(page)
            page.locator("#history button").first.click()
            expect(page.locator(".cards").first.locator("li")).to_have_count(7)
            page.locator("#clear").click()
            assert page.locator("#empty").is_visible()
            expect(page.locator(".cards")).to_have_count(0)
            page.locator("#query").fill("nothing has this")
            expect(page.locator("#count")).to_contain_text("No item")


@pytest.mark.server
def test_pictures_are_those_of_the_table_and_nothing_else(served: str) -> None:
    """Prevents: a name that reaches a file of the server, and a picture of an item that has none."""
    with urllib.request.urlopen(f"{served}/picture?item={ITEMS[0]}", timeout=10) as answer:
        assert answer.read() == PICTURE and answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in (ITEMS[7], "", "thumbnails.parquet", "../params.json", "%2e%2e%2fparams.json", "/etc/passwd"):
        assert status(f"{served}/picture?item={name}") == 404, name
    assert status(f"{served}/picture/../params.yaml") == 404
    found = asked(f"{served}/items?q={ITEMS[0]}")["items"]
    assert [each["picture"] for each in found if each["item_id"] == ITEMS[0]] == [True]
