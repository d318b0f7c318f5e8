"""Stamps a page with what only its time of publishing knows: commit, date, version.

    text = stamped(page, [("Commit", "3c24dfb"), ("Registered", "2026-11-30 14:50 UTC as idiom version 3")])

A page that a stage of the graph writes has no clock in it, so that equal inputs give equal bytes; its template leaves a
place (`parts.stamp`). `register` fills it in a copy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

_PLACE = re.compile(r"<!-- stamp -->.*?<!-- end of stamp -->", re.DOTALL)
_ROW = Markup("<div><dt>{}</dt><dd>{}</dd></div>")


def stamped(page: str, facts: Sequence[tuple[str, str]]) -> str:
    """The page with `facts` (name, value) at its place. Raises `ValueError` for one that has no place."""
    rows = Markup("\n").join(_ROW.format(name, value) for name, value in facts)
    text, places = _PLACE.subn(lambda _: f"<!-- stamp -->\n{rows}\n<!-- end of stamp -->", page)
    if places != 1:
        raise ValueError(f"{places} places for a stamp, where one is needed")
    return text
