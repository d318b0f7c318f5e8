"""What each voice adds, and what a side cost: sections of a comparison beside the figures of its users.

The figures of voices are those of each side's own evaluation, on all users that it was judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from components.evaluation.comparison.first_screen import KIND
from components.evaluation.comparison.forest import Row, forest
from components.evaluation.comparison.sides import Side
from components.evaluation.contenders import COSTS, labels, metric_label
from components.pages.render import amount, number

_NAMES = labels() | {"generate": "language model"}


class _Beyond(NamedTuple):
    users: int
    difference: float
    low: float
    high: float


def voices(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """A forest plot a side that has a ranker: its NDCG minus that of each voice alone, the least first."""
    return [_plot(side) for side in sides if side.voices]


def costs(sides: Sequence[Side]) -> dict[str, Any] | None:
    """A row a kind of cost that one of the sides knows, a column a side; None where nobody knows any."""
    known = [kind for kind in COSTS if any(kind in side.facts.get("cost", {}) for side in sides)]
    if not known:
        return None
    rows = [
        {"name": COSTS[kind], "cells": [_figure(side.facts.get("cost", {}).get(kind)) for side in sides]}
        for kind in known
    ]
    return {"columns": [side.name for side in sides], "rows": rows}


def _plot(side: Side) -> dict[str, Any]:
    """The ranker is what answers in mode `rank`: the difference to the model itself says nothing then.

    A champion that was asked anew has the protocol of the challenger; these figures are of its own."""
    found = side.voices
    protocol = found.get("protocol", side.protocol)
    k, alone = protocol["headline_k"], found[protocol["headline"]]
    users = int(protocol.get("test_users", len(side.users)))
    over = {
        name: each
        for name, each in found["hybrid_over"].items()
        if not (name == "model" and found.get("mode") == "rank")
    }
    rows = []
    for name in sorted(over, key=lambda name: (over[name]["difference"], name)):
        each = over[name]
        value = alone.get(name, {}).get(f"ndcg_at_{k}")
        note = "" if value is None else f"alone {number(value)}"
        row = _Beyond(users, each["difference"], *each["interval"])
        rows.append(Row(_NAMES.get(name, name.replace("_", " ")), note, KIND.get(each["verdict"], ""), row))
    caption = (
        f"{side.name}: {metric_label(f'ndcg_at_{k}')} of the ranker over all voices, "
        f"{number(alone['hybrid'][f'ndcg_at_{k}'])}, minus that of each voice alone; right of the dotted line it finds "
        f"what this voice alone does not. 95 % intervals, in its own evaluation; it answers in mode "
        f"{found.get('mode', 'generate')}."
    )
    return forest(rows, total=False) | {"caption": caption, "head": "Voice"}


def _figure(value: float | None) -> str:
    return "not known" if value is None else amount(value)
