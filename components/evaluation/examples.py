"""Example users for the report and the terminal: history, recommendations and target, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from components.sampling import hash_sample


@dataclass(frozen=True)
class Item:
    """One item as a person reads it."""

    item_id: str
    title: str
    words: str
    hit: bool = False


@dataclass(frozen=True)
class Example:
    """One user. `why` says how this user was picked: a reader must know if it was chosen for its result."""

    user_id: str
    why: str
    history: tuple[Item, ...]
    recommended: tuple[Item, ...]
    target: Item
    rank: int | None


def pick(
    per_user: pl.DataFrame, titles: Mapping[str, str | None], words: Mapping[str, str], *, seed: int, shown: int = 5
) -> list[Example]:
    """One user whose target is among the `shown` items, one whose target is not, and one drawn without looking.

    per_user: as `evaluate` publishes it. Within each of the three the smallest hash of seed and user id is taken, so
    the choice depends on nothing else. Fewer users give fewer examples; the same user is never shown twice.
    """

    def item(item_id: str, right: Sequence[str] = ()) -> Item:
        return Item(item_id, titles.get(item_id) or item_id, words.get(item_id, ""), hit=item_id in right)

    sets = ["also"] if "also" in per_user.columns else []
    rows = per_user.select("user_id", "target", "prompt", "recommended", "rank", *sets)
    hit = pl.col("rank").fill_null(shown + 1) <= shown
    chosen: list[Example] = []
    for why, candidates in (
        ("drawn at random", rows),
        (f"drawn among the users with a hit in the first {shown}", rows.filter(hit)),
        (f"drawn among the users without a hit in the first {shown}", rows.filter(~hit)),
    ):
        users = list(set(candidates["user_id"]) - {example.user_id for example in chosen})
        for at in hash_sample(users, 1, f"example:{seed}:"):
            row = rows.row(by_predicate=pl.col("user_id") == users[at], named=True)
            right = [row["target"], *row.get("also", ())]
            found = [each for each in row["recommended"] if each in right]
            chosen.append(
                Example(
                    user_id=row["user_id"],
                    why=why,
                    history=tuple(item(each) for each in row["prompt"]),
                    recommended=tuple(item(each, right) for each in row["recommended"][:shown]),
                    target=item(found[0] if found else row["target"]),
                    rank=row["rank"],
                )
            )
    return chosen


def as_text(examples: list[Example], *, history: int = 5) -> str:
    """The examples for a terminal; of each history the last `history` items."""
    lines: list[str] = []
    for example in examples:
        lines.append(f"User {example.user_id} ({example.why})")
        for item in example.history[-history:]:
            lines.append(f"  had          {_line(item)}")
        for place, item in enumerate(example.recommended, 1):
            lines.append(f"  {place}. {'HIT ' if item.hit else '    '}    {_line(item)}")
        where = f"rank {example.rank}" if example.rank else "not in the list"
        lines += [f"  took         {_line(example.target)}: {where}", ""]
    return "\n".join(lines)


def _line(item: Item) -> str:
    return f"{item.words or '-'}  ({item.title})"
