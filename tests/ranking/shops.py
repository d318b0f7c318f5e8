"""Small shops for the tests of the ranker."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.ranking.lists import Held
from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned


def catalogue(items: int, *, drop_repeats: bool = True) -> Catalogue:
    ids = tuple(f"i{number:03}" for number in range(items))
    return Catalogue(IdTable(ids, ids, tuple((number,) for number in range(items))), drop_repeats=drop_repeats)


def texts(items: int) -> dict[str, list[Any]]:
    return {
        "title": [f"soap {number % 7} of {number % 3}" for number in range(items)],
        "brand": [None if number % 5 == 0 else f"brand {number % 4}" for number in range(items)],
        "categories": [["all", f"shelf {number % 6}"][: number % 3] for number in range(items)],
    }


def shop(
    users: int = 120, items: int = 40, *, seed: int = 3, times: bool = True, drop_repeats: bool = True
) -> tuple[Learned, Held]:
    """Users who walk from an item to one of the next three, and what each takes after the training history."""
    draw = np.random.default_rng(seed)
    rows, days, targets = [], [], []
    for _ in range(users):
        steps = np.cumsum(draw.integers(1, 4, draw.integers(4, 9)))
        rows.append((draw.integers(items) + steps) % items)
        days.append(16_000.0 + draw.integers(300) + np.cumsum(draw.choice([0.0, 0.25, 3.0, 40.0], len(steps))))
        targets.append(rows[-1][-1])
    histories = Ragged.of([row[:-1].tolist() for row in rows])
    known = np.concatenate([each[:-1] for each in days]) if times else np.full(len(histories.values), np.nan)
    learned = Learned(
        catalogue(items, drop_repeats=drop_repeats), histories, known if times else None, texts(items), seed=seed
    )
    return learned, Held(histories, known, np.array(targets, np.int64))
