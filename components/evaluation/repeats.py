"""Repeats: how well is found what a user takes again, and how well what is new to the user.

Where people buy again, one figure hides two tasks, and a list of what the user has already solves one of them without
any learning (Li et al., "A Next Basket Recommendation Reality Check", TOIS 2023). So both are reported, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.cells import Cell, figure
from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, VARIANTS, Variant, metric_label
from components.evaluation.metrics import per_user
from components.pages.render import number

REPEAT, EXPLORE = "repeat", "explore"
"""Users whose target stands in their prompt, and those whose target is new to them."""


def repeats(
    asked: Cases,
    k: int,
    lists: Mapping[Variant, Mapping[str, np.ndarray]],
    places: Mapping[Variant, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """The section `repeats` of metrics.json; nothing where no target is in its user's prompt.

    lists [users, depth] and ranks [users] by variant and name. `users`: how many of each kind. By variant and name:
    recall and NDCG at `k` of both kinds (of a kind without users: none), and `repeat_share_at_k`, the share of the
    recommended items that stand in the prompt.
    """
    again = in_prompt(asked, asked.targets[:, None])[:, 0]
    if not again.any():
        return {}
    kinds = {name: users for name, users in ((REPEAT, again), (EXPLORE, ~again)) if users.any()}
    found: dict[str, Any] = {"users": {REPEAT: int(again.sum()), EXPLORE: int((~again).sum())}}
    for variant in VARIANTS:
        found[variant] = {
            name: {
                f"{kind}_{metric}": float(values[users].mean())
                for kind, users in kinds.items()
                for metric, values in per_user(rank, [k]).items()
                if metric.startswith(HEADLINE)
            }
            | {f"repeat_share_at_{k}": share(asked, lists[variant][name][:, :k])}
            for name, rank in places[variant].items()
        }
    return found


def in_prompt(asked: Cases, items: np.ndarray) -> np.ndarray:
    """[users, n] whether each of a user's `items` [users, n] (-1: none) stands in the prompt."""
    size = len(asked.item_ids)
    known = asked.prompts.owners * size + asked.prompts.values
    keys = np.arange(len(items))[:, None] * size + items
    return np.isin(keys, known) & (items >= 0)


def share(asked: Cases, shown: np.ndarray) -> float:
    """Share of the recommended items [users, k] that the user had before; 0 where nothing is recommended."""
    count = int((shown >= 0).sum())
    return float(in_prompt(asked, shown).sum()) / count if count else 0.0


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """How much of it is repeats, in a sentence, where they are real."""
    found, k = metrics.get("repeats"), metrics["protocol"].get("headline_k")
    if not found:
        return []
    users, own = found["users"], found[metrics["protocol"]["headline"]][MODEL]
    said = ", ".join(
        f"{number(own[f'{kind}_recall_at_{k}'])} {words}"
        for kind, words in ((REPEAT, "of these"), (EXPLORE, "of the others"))
        if users[kind]
    )
    return [
        f"{users[REPEAT] / sum(users.values()):.1%} of the users take an item that they had before. The model's "
        f"recall@{k} is {said}; {own[f'repeat_share_at_{k}']:.1%} of what it recommends are repeats."
    ]


def rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, Cell]]]:
    """Metric -> name -> cell, headline variant first; nothing where no target is a repeat."""
    found, headline = metrics.get("repeats"), metrics["protocol"]["headline"]
    if not found:
        return []
    table = []
    for variant in sorted(VARIANTS, key=lambda each: each != headline):
        for metric in found[variant][MODEL]:
            if variant == "masked" and not metric.startswith(EXPLORE):
                continue  # zero by construction
            cells = {who: _cell(metric, found[variant][who][metric]) for who in CONTENDERS}
            table.append((f"{_label(metric, found['users'])}{'' if variant == headline else f', {variant}'}", cells))
    return table


def _label(metric: str, users: Mapping[str, int]) -> str:
    kind, _, rest = metric.partition("_")
    if rest.startswith("share"):
        return f"Repeats among the recommended@{rest.rpartition('_')[2]}"
    return f"{metric_label(rest)}, {'bought again' if kind == REPEAT else 'new to the user'} ({users[kind]:,} users)"


def _cell(metric: str, value: float) -> Cell:
    return Cell(f"{value:.1%}") if "_share_" in metric else figure(value)
