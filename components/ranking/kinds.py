"""Brand and category of a candidate among those of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking.features import Asked, Columns, Feature, named, stacked
from components.voices.learned import Learned

GROUP = "kinds"
KINDS = ("brand", "leaf", "parent")


def features() -> list[Feature]:
    """Of each kind: whether the newest item has the same, how many items of the history have, and which share."""
    return [each for kind in KINDS for each in named(GROUP, [f"{kind}.{name}" for name in ("last", "count", "share")])]


def codes(learned: Learned) -> NDArray[np.int32]:
    """[kinds, items] a number for each brand, deepest category and the one above it; -1 where an item has none."""
    items = len(learned.catalogue.table)
    brands = learned.texts.get("brand", [None] * items)
    paths = [path or [] for path in learned.texts.get("categories", [None] * items)]
    parents = [tuple(path[:-1]) if len(path) > 1 else None for path in paths]
    leaves = [tuple(path) if path else None for path in paths]
    return np.stack([_numbered(values) for values in (brands, leaves, parents)])


def shared(codes: NDArray[np.int32], asked: Asked, *, most: int) -> Columns:
    """[candidates, 3 * kinds] over the newest `most` items of each history."""
    columns: list[NDArray[np.float64]] = []
    known = np.maximum(np.minimum(asked.lengths, most), 1)
    for of_items in codes:
        last, count = np.zeros(len(asked.items)), np.zeros(len(asked.items))
        for back in range(min(most, int(asked.histories.lengths.max(initial=0)))):
            there = np.flatnonzero(asked.lengths > back)
            theirs = of_items[asked.items[there]]
            same = (of_items[asked.histories.values[asked.last[there] - back]] == theirs) & (theirs >= 0)
            if back == 0:
                last[there] = same
            count[there] += same
        columns += [last, count, count / known]
    return stacked(columns)


def _numbered(values: Sequence[Any]) -> NDArray[np.int32]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) if each else -1 for each in values], np.int32)
