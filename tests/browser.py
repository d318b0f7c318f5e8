"""A headless Chromium for tests of pages: what a page logs and asks for, what overflows, which text is too faint.

    with opened(browser, path, width=390) as page: ...                # raises where the page logged an error

`infra/browser.sh` installs it; tests that need it fail where it is missing, as a page nobody opened is not tested.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

_OVERFLOWING = """() => {
  const wide = document.documentElement.clientWidth + 0.5;
  const scrolls = (element) => element && (["auto", "scroll"].includes(getComputedStyle(element).overflowX)
    || scrolls(element.parentElement));
  return [...document.querySelectorAll("body *")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width && box.right > wide && !scrolls(each.parentElement) && !each.closest("svg");
  }).map((each) => `${each.tagName}.${each.className}: ${each.textContent.trim().slice(0, 40)}`);
}"""

_FAINT = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    if (!element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
  }
  return faint;
}"""


def executable() -> str:
    """The Chromium of this machine. Raises `FileNotFoundError` with the mend."""
    for name in (os.environ.get("CHROMIUM", "chromium"), "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise FileNotFoundError("no Chromium to open pages in: make browser")


@contextmanager
def launched() -> Iterator[Browser]:
    """One browser, for the tests of a session."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """A page from a file, offline. Fails at the end for anything that it logged as an error or asked of a server."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda each: wrong.append(f"{each.type}: {each.text}") if each.type != "log" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda each: wrong.append(each.url) if not each.url.startswith(("file:", "data:")) else None)
    try:
        page.goto(path.as_uri())
        yield page
        assert wrong == []
    finally:
        context.close()


def overflowing(page: Page) -> list[Any]:
    """Elements that reach beyond the right edge, where nothing scrolls."""
    return list(page.evaluate(_OVERFLOWING))


def faint(page: Page) -> list[Any]:
    """Visible texts whose contrast to what lies under them is below 4.5, as WCAG 2.2 measures it."""
    return list(page.evaluate(_FAINT))


@contextmanager
def visited(
    browser: Browser, address: str, *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """A page of a server. Fails at the end for anything that it logged as an error or asked of another server."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda each: wrong.append(f"{each.type}: {each.text}") if each.type != "log" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda each: wrong.append(each.url) if not each.url.startswith((address, "data:")) else None)
    try:
        page.goto(address)
        yield page
        assert wrong == []
    finally:
        context.close()
