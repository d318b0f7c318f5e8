"""The recipes of docs/architecture.md, "How do I add ...", applied to a copy of the repository."""

from __future__ import annotations

import re
from pathlib import Path

from tests.workspaces import REPOSITORY

PAGE = REPOSITORY / "docs" / "architecture.md"


def code(heading: str) -> dict[str, str]:
    """File -> code that the recipe under `### heading` adds to it, without the comment that names the file."""
    recipe = re.split(r"(?m)^### ", PAGE.read_text(encoding="utf-8").split("## How do I add ...\n")[1])
    section = next(part for part in recipe if part.startswith(f"{heading}\n"))
    blocks = re.findall(r"(?ms)^```\w+\n# ([\w./]+)[^\n]*\n(.*?)^```", section)
    assert blocks, f"the recipe of {heading!r} has no code"
    return dict(blocks)


def insert(file: Path, added: str, *, after: str = "", before: str = "") -> None:
    """Put `added` after (or before) a text that stands in `file` once; at its end where neither is given."""
    text, place = file.read_text(encoding="utf-8"), after or before
    if not place:
        file.write_text(text + added, encoding="utf-8")
        return
    assert text.count(place) == 1, f"{place!r} stands {text.count(place)} times in {file}"
    file.write_text(text.replace(place, place + added if after else added + place), encoding="utf-8")
