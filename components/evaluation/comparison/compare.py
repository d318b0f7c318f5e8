"""Compares sides on the users that all of them were asked about: figures, paired differences, slices, who moved.

    found = compare([champion, challenger], seed=17)
    found.pairs[0].overall["ndcg_at_10"].difference

The first side is the reference; every other one is compared with it. A user counts who is in every side with the same
target; all others are counted by reason, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.errors import BadInput
from components.evaluation.comparison.paired import Paired, holm, paired
from components.evaluation.comparison.sides import SLICE, Side
from components.evaluation.metrics import LEAST_USERS, bootstrap, ndcg, recall, reciprocal_rank

LEAST_IN_SLICE = 100
"""Slices of fewer users are shown, but neither judged nor counted in the family that Holm corrects."""


@dataclass(frozen=True)
class Slice:
    """One slice of the users, in the deciding metric."""

    slicing: str
    name: str
    found: Paired
    judged: bool
    """Whether it has at least `LEAST_IN_SLICE` users."""
    p_holm: float | None
    """p, corrected for the number of judged slices; None where it is not judged."""

    @property
    def verdict(self) -> str:
        """better, worse, no clear difference, or too few users."""
        if self.p_holm is None:
            return "too few users"
        if self.p_holm > 0.05:
            return "no clear difference"
        return "better" if self.found.difference > 0 else "worse"


@dataclass(frozen=True)
class Pair:
    """A side against the reference."""

    side: int
    """Its number among the sides."""
    overall: Mapping[str, Paired]
    """Metric -> difference, the deciding one first."""
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class Comparison:
    """What came of comparing `sides`."""

    sides: tuple[Side, ...]
    users: pl.DataFrame
    """Those compared, sorted by id: `user_id`, `target`, `prompt`, `rank_0`, `rank_1`, ..., and the `SLICE` columns."""
    left_out: Mapping[str, int]
    """Reason -> users that are not compared for it."""
    k: int
    metric: str
    """What decides: NDCG at `k`."""
    figures: Mapping[str, Mapping[str, tuple[float, float, float]]]
    """Name of each side, then of each baseline of the last one -> metric -> (value, low, high)."""
    pairs: tuple[Pair, ...]
    seed: int

    def ranks(self, side: int) -> np.ndarray:
        """[users] ranks of the targets; 0: not in the list."""
        return self.users[f"rank_{side}"].to_numpy()


def compare(sides: Sequence[Side], *, seed: int, metric: str = "ndcg") -> Comparison:
    """Compare two or more sides; `metric` (ndcg, recall, mrr) decides.

    Raises `BadInput` where they cannot be compared: other variants of lists, no common user.
    """
    if len(sides) < 2:
        raise BadInput("there is nothing to compare with", where=sides[0].name, mend="name two or more")
    _refuse_other_protocols(sides)
    users, left_out = _common(sides)
    k = min(int(sides[0].protocol["headline_k"]), *(side.depth for side in sides))
    ranks = {f"{side.name}": users[f"rank_{number}"].to_numpy() for number, side in enumerate(sides)}
    for who, table in sides[-1].baselines.items():
        joined = users.select("user_id", "target").join(
            table, on=["user_id", "target"], how="left", maintain_order="left"
        )
        if not joined["rank"].null_count() and all(side.who != who for side in sides):
            ranks[who] = joined["rank"].to_numpy()
    deciding = f"{metric}_at_{k}"
    of = {name: values(rank, k, first=deciding) for name, rank in ranks.items()}
    intervals = bootstrap({f"{name}/{m}": v for name, each in of.items() for m, v in each.items()}, seed=seed)
    figures = {
        name: {m: (float(v.mean()), *intervals[f"{name}/{m}"]) for m, v in each.items()} for name, each in of.items()
    }
    a = of[sides[0].name]
    pairs = tuple(
        Pair(
            number,
            {name: paired(a[name], b[name], seed=seed) for name in a},
            _slices(users, a[deciding], b[deciding], seed),
        )
        for number, side in enumerate(sides)
        if number
        for b in [of[side.name]]
    )
    return Comparison(tuple(sides), users, left_out, k, deciding, figures, pairs, seed)


def judge(found: Paired) -> str:
    """better, worse, no clear difference, or too few users, by the 95 % interval."""
    if found.users < LEAST_USERS:
        return "too few users"
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no clear difference"


def values(rank: np.ndarray, k: int, *, first: str = "") -> dict[str, np.ndarray]:
    """Metric -> [users] at `k`, NDCG, recall and MRR; the one named `first` before the others."""
    found = {
        f"ndcg_at_{k}": ndcg(rank, k),
        f"recall_at_{k}": recall(rank, k),
        f"mrr_at_{k}": reciprocal_rank(rank, k),
    }
    return {first: found[first], **found} if first else found


def _slices(users: pl.DataFrame, a: np.ndarray, b: np.ndarray, seed: int) -> tuple[Slice, ...]:
    found: list[tuple[str, str, Paired]] = []
    for column in users.columns:
        if column.startswith(SLICE):
            names = users[column]
            for name in names.drop_nulls().unique(maintain_order=False).sort():
                mask = (names == name).fill_null(False).to_numpy()
                found.append((column.removeprefix(SLICE), name, paired(a[mask], b[mask], seed=seed)))
    return tuple(sorted(family(found), key=lambda each: (-each.found.difference, each.slicing, each.name)))


def family(found: Sequence[tuple[str, str, Paired]]) -> list[Slice]:
    """Slicing, name and difference of slices, judged as several looks at the same users (Holm)."""
    judged = [each[2].users >= LEAST_IN_SLICE for each in found]
    corrected = iter(holm([each[2].p for each, large in zip(found, judged, strict=True) if large]))
    return [Slice(*each, large, next(corrected) if large else None) for each, large in zip(found, judged, strict=True)]


def _common(sides: Sequence[Side]) -> tuple[pl.DataFrame, dict[str, int]]:
    """(users in every side with one target, how many are left out by reason)."""
    first = sides[0].users
    columns = [column for column in first.columns if column.startswith(SLICE)]
    users = first.select("user_id", "target", "prompt", pl.col("rank").alias("rank_0"), *columns)
    everybody = set(first["user_id"])
    for number, side in enumerate(sides[1:], 1):
        users = users.join(
            side.users.select(
                "user_id",
                pl.col("target").alias(f"target_{number}"),
                pl.col("prompt").alias(f"prompt_{number}"),
                pl.col("rank").alias(f"rank_{number}"),
            ),
            on="user_id",
            how="inner",
        )
        everybody |= set(side.users["user_id"])
    same = pl.all_horizontal(pl.col("target") == pl.col(f"target_{number}") for number in range(1, len(sides)))
    alike = pl.all_horizontal(pl.col("prompt") == pl.col(f"prompt_{number}") for number in range(1, len(sides)))
    kept = users.filter(same).sort("user_id")
    left_out = {
        "not in every evaluation": len(everybody) - len(users),
        "asked for another target": len(users) - len(kept),
    }
    if kept.is_empty():
        raise BadInput(
            f"no user was asked for the same target in all of them ({left_out})",
            where=" and ".join(side.name for side in sides),
            mend="evaluate both on the same data and split, then compare",
        )
    left_out["compared, though the histories differ"] = len(kept) - len(kept.filter(alike))
    extra = [f"{name}_{number}" for number in range(1, len(sides)) for name in ("target", "prompt")]
    return kept.drop(extra), left_out


def _refuse_other_protocols(sides: Sequence[Side]) -> None:
    for side in sides[1:]:
        if side.headline != sides[0].headline:
            raise BadInput(
                f"{sides[0].name} was judged {sides[0].headline}, {side.name} {side.headline}",
                where=f"{sides[0].name} and {side.name}",
                mend="evaluate both with the same evaluate.mask_seen",
            )
    names = [side.name for side in sides]
    if len(set(names)) < len(names):
        raise BadInput("one side is named twice", where=", ".join(names), mend="name each once")


_SHOULD_AGREE = {"training": "protocol", "seed": "seed", "ties": "order of ties"}
"""Key of the protocol -> what a reader calls it; other settings, like the number of beams, are a model's own."""


def warnings(sides: Sequence[Side]) -> list[str]:
    """What makes two evaluations less alike than they should be, a sentence each."""
    return [
        f"The {what} differs: {first.get(key)} for {sides[0].name}, {side.protocol.get(key)} for {side.name}."
        for first in [sides[0].protocol]
        for side in sides[1:]
        for key, what in _SHOULD_AGREE.items()
        if first.get(key) != side.protocol.get(key)
    ]
