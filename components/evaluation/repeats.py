"""Repeats: how well is found what a user takes again, and how well what is new to the user.

Where people buy again, one figure hides two tasks, and a list of what the user has already solves one of them without
any learning (Li et al., "A Next Basket Recommendation Reality Check", TOIS 2023). So both are reported, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.cells import Cell, figure
from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, VARIANTS, Variant, metric_label
from components.evaluation.exposure import Z
from components.evaluation.metrics import bootstrap, per_user
from components.pages.render import number

_MARKS = 4_000_000
"""Cells of the table that marks prompts: it stays in a processor's cache."""
REPEAT, EXPLORE = "repeat", "explore"
"""Users whose target stands in their prompt, and those whose target is new to them."""


def repeats(
    asked: Cases,
    k: int,
    lists: Mapping[Variant, Mapping[str, np.ndarray]],
    places: Mapping[Variant, Mapping[str, np.ndarray]],
    headline: Variant = "unmasked",
    seed: int = 17,
) -> dict[str, Any]:
    """The section `repeats` of metrics.json; nothing where no target is in its user's prompt.

    lists [users, depth] and ranks [users] by variant and name. `users`: how many of each kind. By variant and name:
    recall and NDCG at `k` of both kinds (of a kind without users: none), and `repeat_share_at_k`, the share of the
    recommended items that stand in the prompt. `intervals`: 95 % intervals of the same by name, headline variant.
    """
    again = in_prompt(asked, asked.targets[:, None])[:, 0]
    if not again.any():
        return {}
    kinds = {name: users for name, users in ((REPEAT, again), (EXPLORE, ~again)) if users.any()}
    found: dict[str, Any] = {"users": {REPEAT: int(again.sum()), EXPLORE: int((~again).sum())}, "intervals": {}}
    for variant in VARIANTS:
        found[variant] = {}
        for name, rank in places[variant].items():
            values = {metric: each for metric, each in per_user(rank, [k]).items() if metric.startswith(HEADLINE)}
            share, interval = _share(asked, lists[variant][name][:, :k])
            found[variant][name] = {
                f"{kind}_{metric}": float(each[users].mean())
                for kind, users in kinds.items()
                for metric, each in values.items()
            } | {f"repeat_share_at_{k}": share}
            if variant == headline:
                found["intervals"][name] = {
                    f"{kind}_{metric}": list(ends)
                    for kind, users in kinds.items()
                    for metric, ends in bootstrap({m: v[users] for m, v in values.items()}, seed=seed).items()
                } | {f"repeat_share_at_{k}": interval}
    return found


def in_prompt(asked: Cases, items: np.ndarray) -> np.ndarray:
    """[users, n] whether each of a user's `items` [users, n] (-1: none) stands in the prompt.

    A block of users at a time marks its prompts in a table [users, items], reads it and clears what it marked: a
    million lists of 50 take a second where looking keys up in a sorted list takes a minute.
    """
    size, prompts = len(asked.item_ids), asked.prompts
    block = max(64, _MARKS // size)
    marked = np.zeros((min(block, len(items)), size + 1), dtype=bool)  # the last column is that of -1
    found = np.empty(items.shape, dtype=bool)
    for start in range(0, len(items), block):
        end = min(start + block, len(items))
        events = slice(prompts.offsets[start], prompts.offsets[end])
        owners = prompts.owners[events] - start
        marked[owners, prompts.values[events]] = True
        found[start:end] = np.take_along_axis(marked[: end - start], items[start:end], axis=1)
        marked[owners, prompts.values[events]] = False
    return found


def _share(asked: Cases, shown: np.ndarray) -> tuple[float, list[float]]:
    """(share of the recommended items [users, k] that the user had before, its 95 % interval); 0 where none is
    recommended. No mean over users: the interval is the jackknife's (exposure.py)."""
    had, of = in_prompt(asked, shown).sum(axis=1), (shown >= 0).sum(axis=1)
    total = int(of.sum())
    if not total:
        return 0.0, [0.0, 0.0]
    value = float(had.sum()) / total
    half = Z * float(np.linalg.norm((had - value * of) / total))
    return value, [max(value - half, 0.0), min(value + half, 1.0)]


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
            known = found.get("intervals", {}) if variant == headline else {}
            cells = {
                who: _cell(metric, found[variant][who][metric], known.get(who, {}).get(metric)) for who in CONTENDERS
            }
            table.append((f"{_label(metric, found['users'])}{'' if variant == headline else f', {variant}'}", cells))
    return table


def _label(metric: str, users: Mapping[str, int]) -> str:
    kind, _, rest = metric.partition("_")
    if rest.startswith("share"):
        return f"Repeats among the recommended@{rest.rpartition('_')[2]}"
    return f"{metric_label(rest)}, {'bought again' if kind == REPEAT else 'new to the user'} ({users[kind]:,} users)"


def _cell(metric: str, value: float, interval: Sequence[float] | None) -> Cell:
    if "_share_" not in metric:
        return figure(value, (interval[0], interval[1]) if interval else None)
    return Cell(f"{value:.1%}", "{:.1%} to {:.1%}".format(*interval) if interval else "")
