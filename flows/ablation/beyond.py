"""What each variant of a grid adds to the first one, by how often the target was taken in training.

    found = rows(results, "no views", params.evaluate.ks)    # a row a variant and slice: all, few, cold
    print(terminal(found, "no views"))

What views say counts most for targets that no history teaches, and a mean over all users hides that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.comparison.paired import paired
from components.evaluation.metrics import LEAST_USERS, ndcg, recall
from flows.ablation.pairs import Pair, pair
from flows.ablation.table import Result, aligned
from flows.ablation.terminal import WIDTH

SLICES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all": lambda counts: np.full(len(counts), True),
    "few": lambda counts: counts <= 5,
    "cold": lambda counts: counts == 0,
}
"""As in benchmarks/views_quality.py."""
_MOST = {"recall": 20, "ndcg": 10}
_OF = {"recall": recall, "ndcg": ndcg}


def rows(results: Sequence[Result], first: str, ks: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each variant and each slice with a user in it; none where there is but the first. Cut-offs are the
    largest of `ks` up to 20 for recall and up to 10 for NDCG, or the smallest one.

    A figure is {k, mean, difference, interval}: mean over seeds and users, and what that is more than the mean of
    `first`; the 95 % interval is a bootstrap over users, null for so few that it would say nothing. Both are null of
    `first` itself.
    """
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(each.variant for each in results):
        both = pair(results, first, name)
        if both is None:
            continue
        for part, chosen in SLICES.items():
            users = chosen(both.counts)
            if users.any():
                about = {"variant": name, "slice": part, "users": int(users.sum()), "left_out": both.left_out}
                figures = {each: _figure(both, users, each, ks) for each in _OF}
                if name == first:
                    figures = {each: {**one, "difference": None, "interval": None} for each, one in figures.items()}
                found.append({**about, **figures})
    return found if any(row["variant"] != first for row in found) else []


def _figure(both: Pair, users: np.ndarray, name: str, ks: Sequence[int]) -> dict[str, Any]:
    k = max((each for each in ks if each <= _MOST[name]), default=min(ks))
    one, other = (_OF[name](ranks[:, users], k).mean(axis=0) for ranks in (both.of_one, both.of_other))
    gain = paired(one, other, seed=both.seeds[0])
    interval = [round(gain.low, 6), round(gain.high, 6)] if gain.users >= LEAST_USERS else None
    return {"k": k, "mean": round(gain.b, 6), "difference": round(gain.difference, 6), "interval": interval}


def markdown(table: Sequence[Mapping[str, Any]], first: str) -> str:
    """The rows of `rows`, one at least, as Markdown under a line that says what they are."""
    head, body = _cells(table)
    return "\n".join([_title(first), "", *aligned(head, body), "", _legend(table)]) + "\n"


def terminal(table: Sequence[Mapping[str, Any]], first: str, *, width: int = WIDTH) -> str:
    """The same for a terminal; long names are folded."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    head, body = _cells(table)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column(head[0], overflow="fold")
    for name in head[1:]:
        shown.add_column(name, justify="right", no_wrap=True)
    for line in body:
        shown.add_row(*line)
    said = io.StringIO()
    Console(file=said, width=width, color_system=None, legacy_windows=False).print(shown)
    lines = [line.rstrip() for line in said.getvalue().splitlines()]
    return "\n".join([_title(first), *lines, _legend(table)]) + "\n"


def _title(first: str) -> str:
    return f"Beyond {first!r}, by the target's training interactions:"


def _cells(table: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    heads = [[f"{title}@{table[0][name]['k']}", "- first"] for name, title in (("recall", "recall"), ("ndcg", "NDCG"))]
    body = [
        [row["variant"], row["slice"], str(row["users"]), *_texts(row["recall"]), *_texts(row["ndcg"])] for row in table
    ]
    return ["variant", "slice", "users", *heads[0], *heads[1]], body


def _texts(figure: Mapping[str, Any]) -> list[str]:
    if figure["difference"] is None:
        return [f"{figure['mean']:.4f}", ""]
    bounds = "" if figure["interval"] is None else " [{:+.4f}, {:+.4f}]".format(*figure["interval"])
    return [f"{figure['mean']:.4f}", f"{figure['difference']:+.4f}{bounds}"]


def _legend(table: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "Means over seeds; in brackets the 95 % interval over users, from 30 users on.",
        "few: the target was taken at most five times in training; cold: never.",
    ]
    for name, left_out in dict.fromkeys((row["variant"], row["left_out"]) for row in table):
        if left_out:
            lines.append(f"{name}: {left_out:,} users are not in both and are left out.")
    return "\n".join(lines)
