"""Which relations and labels are words for the texts of a shop of which nobody has said so: those that a person can
read, and that the texts do not say yet."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from components.settings.views import Views
from components.storage import parquet
from components.storage.layout import Layout

_WORD = re.compile(r"[^\W\d_]{3}")
_CODE = re.compile(r"\d{3}")
_LEAST = 0.5
"""Words are tails of which so large a share has three letters in a row, and no three digits: `E2347` is a code. Texts
say a relation already where they have such a share of its tails."""
_EDGES = 2000
"""First edges of a relation by which that is judged."""


def readable(layout: Layout, settings: Views) -> list[str]:
    """`views.words` or, where it names none, the relations and media with labels that are such words."""
    if settings.words:
        return settings.words
    edges: dict[str, list[tuple[str, str]]] = {}
    relations, media = parquet.read(layout.relations), parquet.read(layout.media)
    for row in relations.select(["head", "relation", "tail"]).to_pylist():
        edges.setdefault(row["relation"], []).append((row["head"], row["tail"]))
    for row in media.select(["item_id", "view", "labels"]).to_pylist():
        edges.setdefault(row["view"], []).extend((row["item_id"], label) for label in row["labels"] or ())
    if not any(edges.values()):
        return []
    rows = parquet.read(layout.items).to_pylist()
    said = {row["item_id"]: _said(row) for row in rows}
    columns = set(rows[0]) if rows else set()
    return sorted(
        name
        for name, own in edges.items()
        if name not in columns and _words({tail for _, tail in own}) and not _told(own[:_EDGES], said)
    )


def _said(row: dict[str, Any]) -> set[str]:
    """The values of an item's columns."""
    cells = (value if isinstance(value, list) else [value] for name, value in row.items() if name != "item_id")
    return {str(value).strip().lower() for cell in cells for value in cell if value is not None}


def _told(edges: Collection[tuple[str, str]], said: dict[str, set[str]]) -> bool:
    there = [tail.strip().lower() in said[item] for item, tail in edges if item in said]
    return bool(there) and sum(there) >= _LEAST * len(there)


def _words(tails: Collection[str]) -> bool:
    some = [tail for tail in tails if _WORD.search(tail) and not _CODE.search(tail)]
    return bool(tails) and len(some) >= _LEAST * len(tails)
