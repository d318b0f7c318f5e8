"""Unique IDs by the exact assignment against two greedy ones: how good, how quick. Prints one JSON line.

    python -m benchmarks.assign                        # 20,000 items, a few seconds
    python -m benchmarks.assign --items 200000

`first_come`: items in order, each its best free candidate (the released way); `best_first`: all pairs of item and
candidate, best score first. Candidates are names of two words from lists as uneven as brands and kinds are, so that
many items want the same one; what an item loses is its best score less that of what it got (nats a token), and being
left over counts as its worst candidate and 1 more. `ratio`: mean loss of `first_come` over that of the exact one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.machine import facts
from components.textid.writing.assign import LEFT_OVER, assign

Candidates = list[list[tuple[int, float]]]


def contested(items: int, candidates: int, *, seed: int = 17) -> Candidates:
    """Candidates of each item, best first: about twice as many names as items, few of them wanted by many."""
    random = np.random.default_rng(seed)
    pool = int(np.sqrt(2 * items)) + 1
    words = (pool * random.random((items, candidates, 2)) ** 2).astype(int)
    names = words[:, :, 0] * pool + words[:, :, 1]
    scores = -np.sort(random.exponential(0.3, size=(items, candidates)).cumsum(axis=1), axis=1)
    rows = zip(names.tolist(), scores.tolist(), strict=True)
    return [list({name: (name, score) for name, score in zip(*row, strict=True)}.values()) for row in rows]


def first_come(wanted: Candidates) -> list[int]:
    """Each item in turn takes its best free candidate."""
    taken: set[int] = set()
    chosen = []
    for options in wanted:
        index = next((place for place, (name, _) in enumerate(options) if name not in taken), LEFT_OVER)
        chosen.append(index)
        if index != LEFT_OVER:
            taken.add(options[index][0])
    return chosen


def best_first(wanted: Candidates) -> list[int]:
    """The best pair of item and candidate that is still possible, again and again."""
    pairs = [(-score, item, place) for item, options in enumerate(wanted) for place, (_, score) in enumerate(options)]
    taken: set[int] = set()
    chosen = [LEFT_OVER] * len(wanted)
    for _, item, place in sorted(pairs):
        name = wanted[item][place][0]
        if chosen[item] == LEFT_OVER and name not in taken:
            chosen[item] = place
            taken.add(name)
    return chosen


def measure(way: Callable[[Candidates], Sequence[int]], wanted: Candidates) -> dict[str, float]:
    """What a way of assigning comes to."""
    start = time.perf_counter()
    chosen = way(wanted)
    seconds = time.perf_counter() - start
    names = [options[place][0] for options, place in zip(wanted, chosen, strict=True) if place != LEFT_OVER]
    assert len(set(names)) == len(names), "a name was given twice"
    scores = [[score for _, score in options] for options in wanted]
    losses = [
        row[0] - (min(row) - 1.0 if place == LEFT_OVER else row[place])
        for row, place in zip(scores, chosen, strict=True)
    ]
    return {
        "left_over_share": round(sum(place == LEFT_OVER for place in chosen) / len(wanted), 5),
        "first_choice_share": round(sum(place == 0 for place in chosen) / len(wanted), 4),
        "mean_loss": round(float(np.mean(losses)), 4),
        "seconds": round(seconds, 3),
    }


def run(items: int, candidates: int) -> dict[str, Any]:
    """All three ways on the same candidates."""
    wanted = contested(items, candidates)
    ways: dict[str, Any] = {"exact": assign, "first_come": first_come, "best_first": best_first}
    figures = {name: measure(way, wanted) for name, way in ways.items()}
    return {
        "benchmark": "assign",
        "ratio": round(figures["first_come"]["mean_loss"] / figures["exact"]["mean_loss"], 2),
        **figures,
        "items": items,
        "candidates": candidates,
        **facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--candidates", type=int, default=8)
    given = parser.parse_args()
    print(json.dumps(run(given.items, given.candidates)))


if __name__ == "__main__":
    main()
