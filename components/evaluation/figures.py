"""The figures of metrics.json, from lists and ranks: means, confidence intervals, comparisons, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.comparison.compare import Slice, family
from components.evaluation.comparison.paired import paired
from components.evaluation.contenders import HEADLINE, MODEL
from components.evaluation.exposure import exposure
from components.evaluation.metrics import LEAST_USERS, bootstrap, breadth, per_user
from components.evaluation.slices import slices

DIGITS = 6


def headline_k(ks: Sequence[int]) -> int:
    """The cut-off that is talked about: 10, or the one nearest to it."""
    return min(ks, key=lambda k: (abs(k - 10), k))


def figures(
    asked: Cases, ks: Sequence[int], lists: Mapping[str, np.ndarray], places: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Means of one variant: name -> metric -> value. lists: [users, depth]; places: ranks [users]; both by name."""
    k = headline_k(ks)
    return {
        name: {metric: float(values.mean()) for metric, values in per_user(rank, ks).items()}
        | breadth(lists[name], asked.counts, k)
        | {metric: found[0] for metric, found in exposure(lists[name], asked.counts, k).items()}
        for name, rank in places.items()
    }


def breadth_intervals(asked: Cases, ks: Sequence[int], lists: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """95 % intervals of what the lists consist of, as far as there are any: name -> metric -> [low, high]."""
    k = headline_k(ks)
    return {
        name: {metric: list(found[1:]) for metric, found in exposure(each, asked.counts, k).items()}
        for name, each in lists.items()
    }


def compare(places: Mapping[str, np.ndarray], ks: Sequence[int], seed: int) -> dict[str, Any]:
    """Confidence intervals of everybody, and of the model minus each baseline, user by user."""
    values = {name: per_user(rank, ks) for name, rank in places.items()}
    others = [name for name in places if name != MODEL]
    columns = {f"{name}/{metric}": each for name, metrics in values.items() for metric, each in metrics.items()}
    gains = {
        f"gain:{name}/{metric}": values[MODEL][metric] - values[name][metric]
        for name in others
        for metric in values[name]
    }
    interval = bootstrap(columns | gains, seed=seed)
    intervals = {
        name: {metric: list(interval[f"{name}/{metric}"]) for metric in metrics} for name, metrics in values.items()
    }
    against = {
        name: {
            metric: {
                "difference": float(gains[f"gain:{name}/{metric}"].mean()),
                "interval": list(interval[f"gain:{name}/{metric}"]),
                "verdict": verdict(len(gains[f"gain:{name}/{metric}"]), *interval[f"gain:{name}/{metric}"]),
            }
            for metric in (f"{each}_at_{headline_k(ks)}" for each in HEADLINE)
        }
        for name in others
    }
    return {"intervals": intervals, "against": against}


def verdict(users: int, low: float, high: float) -> str:
    """What a paired interval says: better, worse, or nothing."""
    if users < LEAST_USERS:
        return "too few users"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no clear difference"


def by_slice(asked: Cases, places: Mapping[str, np.ndarray], k: int, seed: int) -> dict[str, Any]:
    """Slicing -> slice -> `users`; recall and NDCG at `k` of everybody, by name, and their `intervals`; and `against`:
    the model minus each baseline in NDCG, user by user, judged as in a comparison (all slices are one family)."""
    values = {who: _recall_and_ndcg(rank, k) for who, rank in places.items()}
    masks = {(slicing, name): mask for slicing, each in slices(asked).items() for name, mask in each.items()}
    found: dict[str, Any] = {}
    for (slicing, name), mask in masks.items():
        own = {f"{who}/{metric}": each[mask] for who, of in values.items() for metric, each in of.items()}
        intervals = bootstrap(own, seed=seed)
        found.setdefault(slicing, {})[name] = {
            "users": int(mask.sum()),
            **{who: {metric: float(each[mask].mean()) for metric, each in of.items()} for who, of in values.items()},
            "intervals": {who: {m: list(intervals[f"{who}/{m}"]) for m in of} for who, of in values.items()},
            "against": {},
        }
    deciding = f"ndcg_at_{k}"
    for who in places:
        if who != MODEL:
            theirs, ours = values[who][deciding], values[MODEL][deciding]
            pairs = [(*place, paired(theirs[mask], ours[mask], seed=seed)) for place, mask in masks.items()]
            for each in family(pairs):
                found[each.slicing][each.name]["against"][who] = {deciding: _paired(each)}
    return found


def _recall_and_ndcg(rank: np.ndarray, k: int) -> dict[str, np.ndarray]:
    return {metric: each for metric, each in per_user(rank, [k]).items() if metric.startswith(HEADLINE)}


def _paired(each: Slice) -> dict[str, Any]:
    found = each.found
    interval = [found.low, found.high]
    return {"difference": found.difference, "interval": interval, "p_holm": each.p_holm, "verdict": each.verdict}


def rounded(value: Any) -> Any:
    """Figures to six digits: more is noise, and a sum in another order must not change the file."""
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return value
