"""voices.json: every voice, pairs of them and the ranker, what each adds beyond the rest, and who found the hits.

`beside` in voices.py makes the short part, which stands in metrics.json too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.contenders import Variant
from components.evaluation.figures import verdict
from components.evaluation.metrics import bootstrap, ndcg, ranks, recall
from components.evaluation.other_ties import Ask, OtherTies, same_users
from components.evaluation.slices import by_day, by_times_seen, slices
from components.evaluation.voices import HYBRID, MIXTURE

if TYPE_CHECKING:
    from components.recommender.interface import Recommender

HOW = (
    "the voice masked in the ranker, which is not taught again: what it alone proposed is no candidate, and in place "
    "of what it says of the others stands the mean"
)
_FUSION = 60
"""Constant of reciprocal rank fusion (Cormack et al., SIGIR 2009)."""


@dataclass(frozen=True)
class Apart:
    """What the ranker finds without single voices, in the headline variant; arrays are [users]."""

    whole: np.ndarray
    """Rank of the target, 0 for none."""
    without: Mapping[str, np.ndarray]
    """Voice -> that rank without it."""
    proposed: Mapping[str, np.ndarray]
    """Voice -> whether the target was among what it proposed."""


def in_detail(
    asked: Cases,
    lists: Mapping[str, np.ndarray],
    places: Mapping[Variant, Mapping[str, np.ndarray]],
    protocol: Mapping[str, Any],
    apart: Apart | None,
    other: OtherTies | None,
    ask: Ask,
    seed: int,
    refit: Mapping[str, Recommender] | None = None,
) -> dict[str, Any]:
    """All of voices.json. lists: name -> [users, depth] in the headline variant; places: variant -> name -> ranks."""
    k = protocol["headline_k"]
    headline: Variant = protocol["headline"]
    own = places[headline]
    figures: dict[str, Any] = {
        variant: {
            name: {f"recall_at_{k}": float(recall(rank, k).mean()), f"ndcg_at_{k}": float(ndcg(rank, k).mean())}
            for name, rank in each.items()
        }
        for variant, each in places.items()
    }
    alone = {name: listed for name, listed in lists.items() if name not in (HYBRID, MIXTURE)}
    found: dict[str, Any] = {
        "training": protocol["training"],
        "asked": len(asked.user_ids),
        "headline": headline,
        "k": k,
        **figures,
        "pairs": pairs(alone, asked.targets, k),
        "slices": by_slice(asked, own, k),
        "ties": under_other_ties(protocol["ties"], asked, own, other, ask, k),
        "protocols": both_protocols(asked, own, refit or {}, ask, k),
    }
    if apart is not None:
        written = {"generate": (own[MIXTURE], own[HYBRID])} if MIXTURE in own else {}
        proposed = {**apart.proposed, **({"generate": own["generate"] > 0} if "generate" in own else {})}
        found |= {"how": HOW, "adds": adds(apart, written, k, seed)}
        found["found_by"] = found_by((apart.whole > 0) & (apart.whole <= k), proposed)
    return found


def adds(apart: Apart, more: Mapping[str, tuple[np.ndarray, np.ndarray]], k: int, seed: int) -> dict[str, Any]:
    """Name -> NDCG at `k` with it minus without it, user by user, with its 95 % interval.

    more: of further names the ranks [users] with and without it.
    """
    pairs = {name: (apart.whole, rank) for name, rank in apart.without.items()} | dict(more)
    gains = {name: ndcg(whole, k) - ndcg(rest, k) for name, (whole, rest) in pairs.items()}
    intervals = bootstrap(gains, seed=seed)
    return {
        name: {
            "difference": float(gain.mean()),
            "interval": list(intervals[name]),
            "verdict": verdict(len(gain), *intervals[name]),
        }
        for name, gain in gains.items()
    }


def found_by(hits: np.ndarray, proposed: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of the hits of the ranker [users] bool: name -> share that it had among its candidates, and that it alone had."""
    count = np.sum([each.astype(int) for each in proposed.values()], axis=0)
    total = max(int(hits.sum()), 1)
    shares = {
        name: {
            "share": float((hits & each).sum() / total),
            "alone": float((hits & each & (count == 1)).sum() / total),
        }
        for name, each in proposed.items()
    }
    return {"hits": int(hits.sum()), "voices": shares}


def pairs(lists: Mapping[str, np.ndarray], targets: np.ndarray, k: int) -> dict[str, dict[str, float]]:
    """One name -> other name -> NDCG at `k` of both lists [users, depth] by reciprocal rank fusion: no training."""
    found: dict[str, dict[str, float]] = {}
    for one, other in itertools.combinations(lists, 2):
        found.setdefault(one, {})[other] = float(ndcg(fused([lists[one], lists[other]], targets), k).mean())
    return found


def fused(lists: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """[users] rank of the target in the sum of 1 / (60 + place) over lists [users, depth]; ties by item number."""
    users, depth = lists[0].shape
    weights = np.tile(1.0 / (_FUSION + 1 + np.arange(depth)), users)
    items = max(int(max(each.max(initial=0) for each in lists)), int(targets.max(initial=0))) + 1
    owners = np.repeat(np.arange(users), depth)
    keys = np.concatenate([owners * items + each.ravel() for each in lists])
    there = np.concatenate([each.ravel() >= 0 for each in lists])
    found, where = np.unique(keys[there], return_inverse=True)
    scores = np.bincount(where, np.tile(weights, len(lists))[there], len(found))
    wanted = np.arange(users) * items + targets
    at = np.minimum(np.searchsorted(found, wanted), max(len(found) - 1, 0))
    known = found[at] == wanted if len(found) else np.zeros(users, bool)
    own = np.where(known, scores[at] if len(found) else 0.0, np.inf)
    owner = found // items
    ahead = (scores > own[owner]) | ((scores == own[owner]) & (found < wanted[owner]))
    return np.where(known, 1 + np.bincount(owner[ahead], minlength=users), 0)


def by_slice(asked: Cases, places: Mapping[str, np.ndarray], k: int) -> dict[str, Any]:
    """Slicing -> slice -> `users`, and name -> NDCG at `k`; besides the slices of the report how often the target was
    seen in training, and whether it is of a later day than the prompt."""
    sliced = slices(asked) | {"times the target was seen in training": by_times_seen(asked)}
    if asked.times is not None:
        sliced["day of the target"] = by_day(asked.times)
    values = {name: ndcg(rank, k) for name, rank in places.items()}
    return {
        slicing: {
            name: {"users": int(mask.sum()), "ndcg": {who: float(each[mask].mean()) for who, each in values.items()}}
            for name, mask in masks.items()
        }
        for slicing, masks in sliced.items()
    }


def both_protocols(
    asked: Cases, places: Mapping[str, np.ndarray], refit: Mapping[str, Recommender], ask: Ask, k: int
) -> dict[str, Any]:
    """Name -> recall and NDCG at `k`, `strict` and `refit`: of those that were built with the validation items too."""
    found = {}
    for name, voice in refit.items():
        again = ranks(ask(asked, name, voice), asked.targets, asked.also)
        found[name] = {
            protocol: {f"recall_at_{k}": float(recall(rank, k).mean()), f"ndcg_at_{k}": float(ndcg(rank, k).mean())}
            for protocol, rank in (("strict", places[name]), ("refit", again))
        }
    return found


def under_other_ties(
    ties: str, asked: Cases, places: Mapping[str, np.ndarray], other: OtherTies | None, ask: Ask, k: int
) -> dict[str, Any]:
    """Recall and NDCG at `k` of the voices, and of the ranker over voices that were built anew, under both orders of
    ties; for the users that both orders have."""
    if other is None or not other.voices:
        return {"order": ties, "other": None}
    mine, theirs = same_users(asked, other.asked)
    there = other.asked.some(theirs)
    found = {}
    for name, voice in other.voices.items():
        again = ranks(ask(there, name, voice), there.targets, there.also)
        found[name] = {
            order: {f"recall_at_{k}": float(recall(rank, k).mean()), f"ndcg_at_{k}": float(ndcg(rank, k).mean())}
            for order, rank in ((ties, places[name][mine]), (other.order, again))
        }
    return {"order": ties, "other": other.order, "users": len(mine), "voices": found}
