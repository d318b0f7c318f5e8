"""Reasons and sentences of answers, in words. A language is one file of templates, languages/LANGUAGE.json.

    wording = Wording.of("en")
    wording.reason([Clause("next", "B001", 41)], name)         # "people who chose Soap took this next (41 people)"

Text, not markup: whoever puts it on a page has to escape it.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self

from components.errors import BadInput
from components.ranking.clauses import KINDS, Clause
from components.storage.artifacts import read_json

FOLDER = resources.files(__package__) / "languages"
"""Also where the package is a zip, as beside a registered model."""
_TITLE_CHARS = 80
_FIELDS: dict[str, set[str]] = {
    "next": {"item", "people"},
    "together": {"item", "people"},
    "brand_and_kind": {"item"},
    "brand": {"item"},
    "kind": {"item"},
    "relation": {"item", "words"},
    "words": {"item", "words"},
    "popular": {"people"},
    "none": set(),
    "item_again": set(),
    "between_clauses": set(),
    "between_words": set(),
    "between_items": set(),
    "explained": {"title", "reason"},
    "unexplained": {"chosen", "title"},
    "nothing_left": {"chosen"},
    "nothing_known": set(),
}
"""Template -> what stands in it between braces."""
assert set(KINDS) <= _FIELDS.keys()


@dataclass(frozen=True)
class Wording:
    """The templates of one language."""

    templates: Mapping[str, str]

    @classmethod
    @cache
    def of(cls, language: str) -> Self:
        """Read the file of a language. Raises `BadInput` where there is none, or for a file with other templates."""
        path = FOLDER / f"{language}.json"
        if not path.is_file():
            known = ", ".join(sorted(each.name.removesuffix(".json") for each in FOLDER.iterdir()))
            mend = f"give one of {known} as register.language, or add the file"
            raise BadInput(f"there are no sentences in {language!r}", where=str(path), mend=mend)
        with resources.as_file(path) as file:
            templates = read_json(file)
        wrong = sorted(templates.keys() ^ _FIELDS.keys())
        wrong += [
            name for name in sorted(_FIELDS.keys() & templates.keys()) if _named(templates[name]) != _FIELDS[name]
        ]
        if wrong:
            mend = f"write it with {', '.join(sorted(_FIELDS.get(wrong[0], ()))) or 'no fields'}, as en.json does"
            raise BadInput(
                f"the template {wrong[0]!r} is missing, unknown or has other fields", where=str(path), mend=mend
            )
        return cls(templates)

    def reason(self, clauses: Sequence[Clause], name: Callable[[str], str]) -> str:
        """Clauses about one result in one line; `name` is what a person calls an item id."""
        said, cited = [], None
        for clause in clauses:
            item = "" if clause.item is None else short(name(clause.item))
            shown = self.templates["item_again"] if cited is not None and clause.item == cited else item
            words = self.templates["between_words"].join(clause.words)
            people = "" if clause.people is None else f"{clause.people:,}"
            said.append(self.templates[clause.kind].format(item=shown, people=people, words=words))
            cited = clause.item
        return self.templates["between_clauses"].join(said)

    def sentence(self, history: Sequence[str], recommended: Sequence[str], reason: str | None) -> str:
        """Titles of the history and of the recommendations -> one line for a person: the first recommendation with its
        reason; without one what the model was shown, newest last, and no more."""
        if not history:
            return self.templates["nothing_known"]
        chosen = self.templates["between_items"].join(short(title) for title in history[-2:])
        if not recommended:
            return self.templates["nothing_left"].format(chosen=chosen)
        title = short(recommended[0])
        if reason is None:
            return self.templates["unexplained"].format(chosen=chosen, title=title)
        return self.templates["explained"].format(title=title, reason=reason)


def short(title: str) -> str:
    """One line without control characters, cut at a word."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in title).split()).rstrip(".")
    if len(line) <= _TITLE_CHARS:
        return line
    return line[:_TITLE_CHARS].rsplit(" ", 1)[0] + "…"


def _named(template: object) -> set[str | None] | None:
    """What stands between braces; None for what is no template."""
    try:
        return {name for _, name, *_ in string.Formatter().parse(str(template)) if name is not None}
    except ValueError:
        return None
