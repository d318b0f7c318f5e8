"""Unique IDs for all items at once: every item gets at most one of its candidates, every candidate goes to one item.

The assignment with the largest sum of scores, exactly: shortest augmenting paths (Jonker and Volgenant, 1987) over the
sparse graph of candidates. An item may displace others along a path if the sum gains. Nearly all items find their
first choice free, so the cost is close to linear; a path is cut off where leaving an item over is cheaper.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

LEFT_OVER = -1


def assign(candidates: Sequence[Sequence[tuple[Hashable, float]]], *, left_over: float | None = None) -> list[int]:
    """For each item the index of its candidate, or -1 for an item that is left over; each key is used once.

    candidates: for each item its keys with finite scores, higher is better. left_over: what an item without a key
    counts in the sum (default: less than any exchange along a path of ten items can gain). The order of the items
    matters only between assignments of exactly the same sum, so pass them sorted by text: ids may say too much.
    """
    scores = [score for options in candidates for _, score in options]
    if not scores:
        return [LEFT_OVER] * len(candidates)
    best, worst = max(scores), min(scores)
    price_of_none = best - (worst - 10.0 * (best - worst) - 1.0 if left_over is None else left_over)
    matching = _Matching([[(key, best - score) for key, score in options] for options in candidates], price_of_none)
    for item in range(len(candidates)):
        matching.insert(item)
    return matching.chosen


@dataclass
class _Matching:
    """A matching of the items inserted so far, of least cost, with the potentials that prove it."""

    options: list[list[tuple[Hashable, float]]]
    """Item -> keys and costs, all >= 0."""
    none: float
    """Cost of an item without a key."""
    holder: dict[Hashable, int] = field(default_factory=dict)
    """Key -> item."""
    price: dict[Hashable, float] = field(default_factory=dict)
    """Key -> dual price, <= 0: how much cheaper the key would have to be for one more item to want it."""

    def __post_init__(self) -> None:
        self.chosen = [LEFT_OVER] * len(self.options)

    def insert(self, item: int) -> None:
        """Dijkstra from `item` over exchanges to the nearest free key, or to the item that is best left over."""
        distance: dict[Hashable, float] = {}
        reached_from: dict[Hashable, tuple[int, int]] = {}  # key -> (item that wants it, index of the option)
        settled: dict[Hashable, float] = {}
        heap: list[tuple[float, int, Hashable]] = []
        end, end_cost, loser = None, float("inf"), item
        current, base, order = item, 0.0, 0
        while True:
            own = self._own_cost(current)
            if base + self.none - own < end_cost:
                end_cost, loser = base + self.none - own, current
            for index, (key, cost) in enumerate(self.options[current]):
                through = base + cost - self.price.get(key, 0.0) - own
                if key not in settled and through < distance.get(key, float("inf")):
                    distance[key], reached_from[key] = through, (current, index)
                    heapq.heappush(heap, (through, order, key))
                    order += 1
            while heap and heap[0][2] in settled:
                heapq.heappop(heap)
            if not heap or heap[0][0] >= end_cost:
                break
            base, _, key = heapq.heappop(heap)
            settled[key] = base
            if key not in self.holder:
                end, end_cost = key, base
                break
            current = self.holder[key]
        self._update(settled, end_cost)
        self._flip(item, end, loser, reached_from)

    def _own_cost(self, item: int) -> float:
        """Reduced cost of the edge that `item` holds now (0 for the item being inserted)."""
        index = self.chosen[item]
        if index == LEFT_OVER:
            return 0.0
        key, cost = self.options[item][index]
        return cost - self.price.get(key, 0.0)

    def _update(self, settled: dict[Hashable, float], end_cost: float) -> None:
        """Lower the prices of the keys nearer than the end, so that reduced costs stay non-negative."""
        for key, reached in settled.items():
            if reached < end_cost:
                self.price[key] = self.price.get(key, 0.0) + reached - end_cost

    def _flip(self, item: int, end: Hashable | None, loser: int, reached_from: dict[Hashable, tuple[int, int]]) -> None:
        """Hand the keys on along the path that ends at a free key, or at `loser`, who is left with none."""
        if end is None:
            if loser == item:
                return
            end = self.options[loser][self.chosen[loser]][0]
            self.chosen[loser] = LEFT_OVER
        key = end
        while True:
            taker, index = reached_from[key]
            before = self.chosen[taker]
            self.chosen[taker], self.holder[key] = index, taker
            if taker == item:
                return
            key = self.options[taker][before][0]
