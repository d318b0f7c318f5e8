"""Brand and category of a candidate among those of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return np.stack([_numbered(values) for values in _values(learned.texts, len(learned.catalogue.table))])


def extended(
    codes: NDArray[np.int32], known: Mapping[str, Sequence[Any]], texts: Mapping[str, Sequence[Any]], items: int
) -> NDArray[np.int32]:
    """`codes` [kinds, items] with `items` new ones at the end, which have the number of whoever has their kind.

    known, texts: columns of the old items and of the new ones.
    """
    rows = []
    for code, old, new in zip(codes, _values(known, codes.shape[1]), _values(texts, items), strict=True):
        numbers: dict[Any, int] = {}
        wanted = {each for each in new if each}
        for each, number in zip(old, code.tolist(), strict=True):
            if each in wanted and number >= 0:
                numbers.setdefault(each, number)
        following = int(code.max(initial=-1)) + 1
        for each in new:
            if each and each not in numbers:
                numbers[each], following = following, following + 1
        rows.append(np.concatenate([code, np.array([numbers[each] if each else -1 for each in new], np.int32)]))
    return np.stack(rows)


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


def _values(texts: Mapping[str, Sequence[Any]], items: int) -> list[Sequence[Any]]:
    """Of each of `KINDS` a value for each item, None where it has none."""
    # A relation of that name is a list of words (`views.words`), where the items have no such column.
    brands = [tuple(each) if isinstance(each, list) else each for each in texts.get("brand", [None] * items)]
    paths = [path or [] for path in texts.get("categories", [None] * items)]
    parents = [tuple(path[:-1]) if len(path) > 1 else None for path in paths]
    leaves = [tuple(path) if path else None for path in paths]
    return [brands, leaves, parents]


def _numbered(values: Sequence[Any]) -> NDArray[np.int32]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) if each else -1 for each in values], np.int32)
