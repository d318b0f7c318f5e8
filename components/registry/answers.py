"""Answers for people, as serving and the command line give them: items with textual IDs and titles, and a sentence.

answers = Answers(load(bundle), decoding_of(bundle))
answers([["B001", "B007"]], [10])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Recommender, Times
from components.settings.decoding import Decoding

_TITLE_CHARS = 80

FIELDS = ("item_ids", "textual_ids", "titles", "scores", "sentence")


class Answers:
    """A recommender with its decoding settings, asked on behalf of people."""

    def __init__(self, recommender: Recommender, decoding: Decoding) -> None:
        self._recommender, self._decoding = recommender, decoding

    @property
    def catalogue(self) -> Catalogue:
        """Of the recommender."""
        return self._recommender.catalogue

    def __call__(
        self, histories: Sequence[Sequence[str]], ks: Sequence[int], times: Times = None
    ) -> list[dict[str, Any]]:
        """One answer a row. Rows of equal k are decoded together; a row's answer does not depend on its neighbours.

        A history without a known item gets an empty answer. times: of each history seconds since 1970 of its items, or
        None where they are not known; a ranker that learned when things were taken answers otherwise without them.
        """
        moments = times or [None] * len(histories)
        known = [self._recommender.catalogue.rows(history) for history in histories]
        answers = [self._answer([], []) for _ in histories]
        for k in sorted(set(ks)):
            rows = [row for row, wanted in enumerate(ks) if wanted == k and known[row]]
            when = [moments[row] for row in rows]
            found = self._recommender.recommend([histories[row] for row in rows], k, self._decoding, times=when)
            for row, recommended in zip(rows, found, strict=True):
                answers[row] = self._answer(known[row], recommended)
        return answers

    def _answer(self, history: Sequence[int], recommended: Sequence[Recommendation]) -> dict[str, Any]:
        catalogue = self._recommender.catalogue
        titles = [catalogue.name(catalogue.row_of[each.item_id]) for each in recommended]
        return {
            "item_ids": [each.item_id for each in recommended],
            "textual_ids": [each.words for each in recommended],
            "titles": titles,
            "scores": [float(each.score) for each in recommended],
            "sentence": sentence([catalogue.name(item) for item in history], titles),
        }


def sentence(history: Sequence[str], recommended: Sequence[str]) -> str:
    """Titles of the history and of the recommendations -> one line of plain text for a person.

    Says what the model was shown, newest last, and no more: it claims no property of the items. Text, not markup:
    whoever puts it on a page has to escape it.
    """
    if not history:
        return "None of these items is known here, so there is nothing to go by."
    chosen = " and ".join(_short(title) for title in history[-2:])
    if not recommended:
        return f"You chose {chosen}: nothing is left to recommend."
    return f"Because you chose {chosen}: {_short(recommended[0])}."


def _short(title: str) -> str:
    """One line without control characters, cut at a word."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in title).split()).rstrip(".")
    if len(line) <= _TITLE_CHARS:
        return line
    return line[:_TITLE_CHARS].rsplit(" ", 1)[0] + "…"
