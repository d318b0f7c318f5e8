"""What came of a walk: figures of each answer, and over the windows the ratios to training anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.walk_forward.rows import K
from components.evaluation.metrics import ndcg, recall

SCRATCH = "scratch"


def gains(answer: dict[str, Any]) -> np.ndarray:
    """NDCG@10 of each case."""
    return ndcg(np.array(answer["ranks"], dtype=np.int64), K)


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """The figures of an answer."""
    gained, hits = gains(answer), recall(np.array(answer["ranks"], dtype=np.int64), K)
    slices = {
        name: {
            "events": len(rows),
            "ndcg_at_10": round(float(gained[rows].mean()), 6),
            "recall_at_10": round(float(hits[rows].mean()), 6),
        }
        for name, rows in answer["slices"].items()
        if rows
    }
    figures = {
        "ndcg_at_10": gained.mean(),
        "recall_at_10": hits.mean(),
        "last_ndcg_at_10": gained[answer["last"]].mean(),
    }
    costs: dict[str, Any] = {name: answer[name] for name in ("target_tokens", "id_churn", "users") if name in answer}
    return {
        **{name: round(float(each), 6) for name, each in figures.items()},
        "cpu_seconds": round(answer["cpu_seconds"], 2),
        **costs,
        "slices": slices,
    }


def ratios(windows: list[dict[str, dict[str, Any]]], *, seed: int) -> dict[str, Any]:
    """Of each row over these windows: quality with its 95 % interval, seconds and tokens, as shares of `scratch`."""
    found: dict[str, Any] = {f"ratio_{name}_to_scratch": {} for name in ("ndcg", "compute", "tokens")}
    if not windows or SCRATCH not in windows[0]:
        return found
    owners = np.concatenate([rows[SCRATCH]["owners"] for rows in windows])
    best = np.concatenate([gains(rows[SCRATCH]) for rows in windows])
    for row in (name for name in windows[0] if name != SCRATCH):
        own = np.concatenate([gains(rows[row]) for rows in windows])
        low, high = interval(own, best, owners, seed=seed)
        ratio = own.mean() / best.mean() if best.any() else float("nan")
        found["ratio_ndcg_to_scratch"][row] = {"ratio": round(ratio, 4), "low": round(low, 4), "high": round(high, 4)}
        for name, key in (("compute", "cpu_seconds"), ("tokens", "target_tokens")):
            mine, theirs = (sum(rows[who].get(key, 0) for rows in windows) for who in (row, SCRATCH))
            found[f"ratio_{name}_to_scratch"][row] = round(mine / max(theirs, 1e-9), 4)
    return found


def forgetting(then: dict[str, Any], now: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The first window as the base answered it, and as each row's last model does."""
    base = round(float(gains(then).mean()), 6)
    return {
        row: {"window_1_ndcg_at_10": base, "again_ndcg_at_10": round(float(gains(each).mean()), 6)}
        for row, each in now.items()
    }


def interval(own: np.ndarray, best: np.ndarray, owners: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % of the ratio of the two means, users being drawn again a thousand times."""
    _, user = np.unique(owners, return_inverse=True)
    sums = np.stack([np.bincount(user, each) for each in (own, best)])
    random = np.random.default_rng(seed)
    drawn = random.multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), size=1000)
    ratios = (drawn @ sums[0]) / np.maximum(drawn @ sums[1], 1e-12)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
