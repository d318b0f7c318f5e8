"""Brand and category of a candidate among those of the history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.ranking.features import Asked, Columns, Feature, named, stacked
from components.voices.kinds import KINDS

GROUP = "kinds"


def features() -> list[Feature]:
    """Of each kind: whether the newest item has the same, how many items of the history have, and which share."""
    return [each for kind in KINDS for each in named(GROUP, [f"{kind}.{name}" for name in ("last", "count", "share")])]


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
