"""Histories -> answers for people: items with their textual IDs and titles, and a sentence. What serving and the
command line both give; nothing of mlflow is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.registry.bundle import ID_TABLE, ITEMS, PARAMS
from components.settings.params import DECODING
from components.storage.artifacts import read_json

_TITLE_CHARS = 80

FIELDS = ("item_ids", "textual_ids", "titles", "scores", "sentence")


class Answers:
    """Histories -> answers, with the decoding settings that the bundle was evaluated with."""

    def __init__(self, bundle: Path, engine: Any) -> None:
        # An item without a title is called by its textual ID.
        self._names = _column(bundle / ID_TABLE, "words")
        self._names |= {item_id: title for item_id, title in _column(bundle / ITEMS, "title").items() if title}
        self._engine = engine
        params = read_json(bundle / PARAMS)
        self._drop_repeats = params["clean"]["drop_repeats"]
        self._settings = {name: params["evaluate"][name] for name in (*DECODING, "mask_seen")}

    def __call__(self, histories: Sequence[Sequence[str]], ks: Sequence[int]) -> list[dict[str, Any]]:
        """One answer a row. Rows of equal k are decoded together; a row's answer does not depend on its neighbours."""
        canonical = [self._engine.canonical(history, drop_repeats=self._drop_repeats) for history in histories]
        known = [[item for item in history if item in self._names] for history in canonical]
        answers = [self._answer([], []) for _ in histories]
        for k in sorted(set(ks)):
            rows = [row for row, wanted in enumerate(ks) if wanted == k and known[row]]
            found = self._engine.recommend(
                [known[row] for row in rows], k=k, drop_repeats=self._drop_repeats, **self._settings
            )
            for row, recommended in zip(rows, found, strict=True):
                answers[row] = self._answer(known[row], recommended)
        return answers

    def _answer(self, history: Sequence[str], recommended: Sequence[Any]) -> dict[str, Any]:
        titles = [self._names[each.item_id] for each in recommended]
        return {
            "item_ids": [each.item_id for each in recommended],
            "textual_ids": [each.words for each in recommended],
            "titles": titles,
            "scores": [float(each.score) for each in recommended],
            "sentence": sentence([self._names[item] for item in history], titles),
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


def _column(path: Path, name: str) -> dict[str, Any]:
    """item_id -> `name`."""
    table = pq.read_table(path, columns=["item_id", name])
    return dict(zip(table["item_id"].to_pylist(), table[name].to_pylist(), strict=True))


def _short(title: str) -> str:
    """One line without control characters, cut at a word."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in title).split()).rstrip(".")
    if len(line) <= _TITLE_CHARS:
        return line
    return line[:_TITLE_CHARS].rsplit(" ", 1)[0] + "…"
