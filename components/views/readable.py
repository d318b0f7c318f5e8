"""Which relations and labels hold words that a person can read: what enters the texts where nobody has said so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from components.settings.views import Views
from components.storage import parquet
from components.storage.layout import Layout

_WORD = re.compile(r"[^\W\d_]{3}")
_CODE = re.compile(r"\d{3}")
_LEAST = 0.5
"""Words are tails of which so large a share has three letters in a row, and no three digits: `E2347` is a code."""


def readable(layout: Layout, settings: Views, columns: Collection[str]) -> list[str]:
    """`views.words` or, where it names none, the relations and media with labels that are no column of the items
    already and are mostly words."""
    if settings.words:
        return settings.words
    tails: dict[str, set[str]] = defaultdict(set)
    for relation, tail in _pairs(parquet.read(layout.relations, ["relation", "tail"])):
        tails[relation].add(tail)
    for view, labels in _pairs(parquet.read(layout.media, ["view", "labels"])):
        if labels:
            tails[view].update(labels)
    return sorted(name for name, own in tails.items() if name not in columns and _words(own))


def _pairs(table: pa.Table) -> list[tuple[str, Any]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _words(tails: Collection[str]) -> bool:
    some = [tail for tail in tails if _WORD.search(tail) and not _CODE.search(tail)]
    return len(some) >= _LEAST * len(tails)
