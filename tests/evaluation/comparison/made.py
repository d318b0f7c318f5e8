"""Sides made by hand: users, lists and ranks whose comparison is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from components.evaluation.comparison.sides import SLICE, Side

ITEMS = [f"i{number:03}" for number in range(60)]
PROTOCOL = {"headline": "masked", "headline_k": 10, "depth": 20, "training": "strict", "seed": 17}
VERDICT = {
    "passed": True,
    "warnings": ["ties_in_time"],
    "checks": [
        {"name": "ties_in_time", "passed": False, "meaning": "Few last items share a time.", "observed": 0.47},
        {"name": "items_known", "passed": True, "meaning": "Items are known.", "observed": 0},
    ],
}


def side(name: str, ranks: np.ndarray, *, who: str = "model", words: str = "words", **changes: Any) -> Side:
    """A side whose lists have the target at `ranks` [users]; 0: nowhere. Prompts and targets are those of each user."""
    lists, prompts, targets = [], [], []
    for user, rank in enumerate(ranks):
        target = ITEMS[user % 40]
        row = [ITEMS[40 + (user + place) % 20] for place in range(20)]
        if rank:
            row[rank - 1] = target
        lists.append(row)
        targets.append(target)
        prompts.append([ITEMS[(user + step) % 60] for step in range(1, 3 + user % 14)])
    lengths = np.array([len(prompt) for prompt in prompts])
    users = pl.DataFrame(
        {
            "user_id": [f"u{user:05}" for user in range(len(ranks))],
            "target": targets,
            "prompt": prompts,
            "times": pl.Series(
                [[float(step) for step in range(len(row))] for row in prompts], dtype=pl.List(pl.Float64)
            ),
            "rank": ranks.astype(np.int64),
            "recommended": lists,
            f"{SLICE}history length": np.where(lengths <= 8, "up to 8", "9 and more").tolist(),
            f"{SLICE}target": ["rare" if user % 97 == 0 else "frequent" for user in range(len(ranks))],
        }
    )
    graph = users.select("user_id", "target", rank=pl.lit(3, pl.Int64))
    named = {item: f"{words} {item}" for item in ITEMS}
    titles = {item: f"Title <b>of</b> {item} & more" for item in ITEMS}
    given = {"baselines": {"item_graph": graph}, "protocol": PROTOCOL, "verdict": VERDICT, "facts": {}} | changes
    return Side(name, who, users, titles=titles, words=named, **given)


def pair_of_sides(users: int = 1200, better: float = 0.06, seed: int = 1) -> tuple[Side, Side]:
    """(reference, one that finds a share `better` of the users anew and loses a third as many)."""
    random = np.random.default_rng(seed)
    a = np.where(random.random(users) < 0.2, random.integers(1, 21, users), 0)
    b = np.where(random.random(users) < better, random.integers(1, 4, users), a)
    b = np.where(random.random(users) < better / 3, 0, b)
    return side("version 11", a), side("version 12", b, words="other words")
