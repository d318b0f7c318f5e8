"""Stamps a page with what only its time of publishing knows: commit, date, version.

    text = stamped(page, [("Commit", "3c24dfb"), ("Registered", "2026-11-30 14:50 UTC as idiom version 3")])
    text = filled(page, "curve", section)                # any other place that a template leaves

A page that a stage of the graph writes has no clock in it, so that equal inputs give equal bytes; its template leaves a
place (`parts.stamp`). `register` fills it in a copy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

_ROW = Markup("<div><dt>{}</dt><dd>{}</dd></div>")


def stamped(page: str, facts: Sequence[tuple[str, str]]) -> str:
    """The page with `facts` (name, value) at its place. Raises `ValueError` for one that has no place."""
    return filled(page, "stamp", Markup("\n").join(_ROW.format(name, value) for name, value in facts))


def filled(page: str, place: str, html: str) -> str:
    """The page with `html` at a place, instead of what stands there. Raises `ValueError` for one without the place."""
    start, end = f"<!-- {place} -->", f"<!-- end of {place} -->"
    text, places = re.subn(f"{start}.*?{end}", lambda _: f"{start}\n{html}\n{end}", page, flags=re.DOTALL)
    if places != 1:
        raise ValueError(f"{places} places for a {place}, where one is needed")
    return text
