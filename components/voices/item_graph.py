"""The item graph, a baseline without knobs: co-occurrence in training histories by direction and distance.

An item i before an item j at distance d <= 12 in a history of n items adds 0.9^(d-1) / log2(2+n) to weight(i -> j), and
half of it to weight(j -> i). A candidate c after a history, whose newest item has the age 0, scores

    sum over the items h of the history: 0.6^age(h) * weight(h -> c) / sqrt(count h) / count(c)^0.3
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.voices.graph import Graph
from components.voices.learned import Learned

# Fixed, so that its figures stay comparable (docs/reading-a-run.md).
FORMULA = settings.DirectedGraph(
    reach=12,
    distance_decay=0.9,
    pair_days=None,
    same_day=1.0,
    backward=0.5,
    power=1.0,
    source_discount=0.5,
    candidate_discount=0.3,
    age_decay=0.6,
    age_days=None,
    same_day_step=1.0,
)


class ItemGraph(Graph):
    """The graph of a fixed formula, which knows no days."""

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any = None) -> None:
        """`chosen`: the formula, whatever stands there: within a hybrid or a sum it has no settings."""
        super().__init__(catalogue, arrays, FORMULA)

    @classmethod
    def build(cls, learned: Learned, chosen: Any = None) -> Self:
        return super().build(learned, FORMULA)
