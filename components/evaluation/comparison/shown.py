"""The users that a comparison shows: who gained and who lost most, and a sample that a reader can look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from components.evaluation.comparison.compare import Comparison
from components.evaluation.comparison.sides import SLICE
from components.evaluation.metrics import ndcg
from components.sampling import hash_sample

HISTORY = 8
"""Newest items of a history that are shown."""
LISTED = 10
"""Recommendations of each list that are shown."""
PICTURES = 200
"""Small pictures that a page holds: some 2.7 kB each."""


@dataclass(frozen=True)
class Item:
    """An item as a person reads it."""

    item_id: str
    words: str
    title: str


@dataclass(frozen=True)
class User:
    """One user with what each side recommended."""

    user_id: str
    history: tuple[Item, ...]
    earlier: int
    """Items of the history that are not shown."""
    target: Item
    ranks: tuple[int, ...]
    """Of each side; 0: not in the list."""
    lists: tuple[tuple[Item, ...], ...]
    slices: tuple[str, ...]

    @property
    def moved(self) -> str:
        """What became of the target: "place 12 → place 1"."""
        return " → ".join(f"place {rank}" if rank else "not in the list" for rank in self.ranks[:2])


def movers(found: Comparison, *, count: int = 10) -> tuple[list[User], list[User]]:
    """(who gained most, who lost most) between the first two sides: by NDCG over the whole list, then by a hash."""
    a, b = (ndcg(found.ranks(side), max(each.depth for each in found.sides)) for side in (0, 1))
    gain, ids = b - a, found.users["user_id"].to_list()
    order = {at: place for place, at in enumerate(hash_sample(ids, len(ids), f"movers:{found.seed}:"))}
    by_hash = np.array([order[at] for at in range(len(ids))])
    most, least = np.lexsort((by_hash, -gain))[:count], np.lexsort((by_hash, gain))[:count]
    return of(found, [at for at in most if gain[at] > 0]), of(found, [at for at in least if gain[at] < 0])


def sample(found: Comparison, count: int) -> list[User]:
    """`count` users by a hash of seed and id, sorted by id."""
    return of(found, sorted(hash_sample(found.users["user_id"].to_list(), count, f"lookup:{found.seed}:")))


def of(found: Comparison, rows: Sequence[int]) -> list[User]:
    """The users in these rows of `found.users`, in that order."""
    chosen = found.users[list(rows)]
    wanted = chosen.select("user_id")
    lists = [
        wanted.join(side.users.select("user_id", "recommended"), on="user_id", how="left", maintain_order="left")
        for side in found.sides
    ]
    slicings = [column for column in chosen.columns if column.startswith(SLICE)]

    def item(item_id: str, side: int = 0) -> Item:
        own = found.sides[side]
        title = own.titles.get(item_id) or item_id
        return Item(item_id, own.words.get(item_id) or title, title)

    return [
        User(
            user_id=row["user_id"],
            history=tuple(item(each) for each in row["prompt"][-HISTORY:]),
            earlier=max(len(row["prompt"]) - HISTORY, 0),
            target=item(row["target"]),
            ranks=tuple(row[f"rank_{side}"] for side in range(len(found.sides))),
            lists=tuple(
                tuple(item(each, side) for each in table["recommended"][at].to_list()[:LISTED])
                for side, table in enumerate(lists)
            ),
            slices=tuple(f"{column.removeprefix(SLICE)}: {row[column]}" for column in slicings if row[column]),
        )
        for at, row in enumerate(chosen.iter_rows(named=True))
    ]


def pictured(found: Comparison, users: Sequence[User]) -> dict[str, bytes]:
    """Item id -> small JPEG of the first `PICTURES` items of these users that have one; what was taken goes first."""
    chosen: dict[str, bytes] = {}
    for each in users:
        for item in (each.target, *each.history, *(item for row in each.lists for item in row)):
            side = next((side for side in found.sides if item.item_id in side.pictures), None)
            if side is not None and len(chosen) < PICTURES:
                chosen.setdefault(item.item_id, side.pictures[item.item_id])
    return chosen


def as_data(users: Sequence[User], sides: Sequence[str], pictures: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Users for a script in a page: items once, by number, as [title, words of the first side, of the second, ...].

    pictures: item id -> number of its picture in the page; in what is returned by the number of the item.
    """
    items: dict[str, int] = {}
    rows: list[list[str]] = []

    def number(each: Item, side: int = 0) -> int:
        at = items.setdefault(each.item_id, len(rows))
        if at == len(rows):
            rows.append([each.title, *[each.words] * len(sides)])
        rows[at][1 + side] = each.words
        return at

    slices = sorted({each for user in users for each in user.slices})
    made = [
        {
            "id": user.user_id,
            "history": [number(each) for each in user.history],
            "earlier": user.earlier,
            "target": number(user.target),
            "ranks": list(user.ranks),
            "lists": [[number(each, side) for each in row] for side, row in enumerate(user.lists)],
            "slices": [slices.index(each) for each in user.slices],
        }
        for user in users
    ]
    own = {str(items[item_id]): at for item_id, at in (pictures or {}).items() if item_id in items}
    return {"sides": list(sides), "slices": slices, "items": rows, "users": made, "pictures": own}


def moves(found: Comparison) -> pl.DataFrame:
    """How the place of the target changed between the first two sides: `label`, `kind` and `users`, best first."""
    a, b = found.ranks(0), found.ranks(1)
    both = (a > 0) & (b > 0)
    groups = (
        ("found, was not in the list", "better", (a == 0) & (b > 0)),
        ("up by 10 places or more", "better", both & (a - b >= 10)),
        ("up by 3 to 9", "better", both & (a - b >= 3) & (a - b < 10)),
        ("up by 1 or 2", "better", both & (a - b >= 1) & (a - b < 3)),
        ("the same place", "level", both & (a == b)),
        ("down by 1 or 2", "worse", both & (b - a >= 1) & (b - a < 3)),
        ("down by 3 to 9", "worse", both & (b - a >= 3) & (b - a < 10)),
        ("down by 10 places or more", "worse", both & (b - a >= 10)),
        ("lost, was in the list", "worse", (a > 0) & (b == 0)),
    )
    return pl.DataFrame(
        {
            "label": [label for label, _, _ in groups],
            "kind": [kind for _, kind, _ in groups],
            "users": [int(mask.sum()) for _, _, mask in groups],
        }
    )
