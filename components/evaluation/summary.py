"""The metrics in plain words and as one table: for the report, MLflow's run description and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.evaluation.metrics import LEAST_USERS
from components.evaluation.plots import NAMES


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Does the model win? One sentence against each baseline, worst news first.

    In brackets: 95 % interval of the paired difference. The worse of the two metrics decides the verdict; of fewer than
    `LEAST_USERS` test users there is none.
    """
    headline = metrics[metrics["protocol"]["headline"]]
    order = {"worse": 0, "too few users": 1, "no clear difference": 2, "better": 3}
    lines = []
    for name, against in metrics["against"].items():
        verdict = min((each["verdict"] for each in against.values()), key=order.__getitem__)
        figures = []
        for metric, found in sorted(against.items(), key=lambda each: _order(each[0])):
            own, other, (low, high) = headline["model"][metric], headline[name][metric], found["interval"]
            times = f", {own / other:.1f} times" if other else ""
            figures.append(f"{label(metric)} {own:.4f} against {other:.4f}{times} ({low:+.4f} to {high:+.4f})")
        lines.append((order[verdict], f"{_OPENING[verdict]} {_THE[name]}: {'; '.join(figures)}."))
    return [line for _, line in sorted(lines, key=lambda each: each[0])]


_OPENING = {
    "worse": "The model LOSES to",
    "too few users": f"Too few test users (under {LEAST_USERS}) to tell whether the model beats",
    "no clear difference": "No clear difference between the model and",
    "better": "The model beats",
}
_THE = {"item_graph": "the item graph, which needs no training", "popularity": "popularity"}


def rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Metric -> name -> cell text: both variants, the headline one first and with its intervals."""
    headline = metrics["protocol"]["headline"]
    table = []
    for variant in (headline, "unmasked" if headline == "masked" else "masked"):
        for metric in sorted(metrics["intervals"]["model"], key=_order):
            cells = {}
            for who in NAMES:
                cells[who] = f"{metrics[variant][who][metric]:.4f}"
                if variant == headline:
                    low, high = metrics["intervals"][who][metric]
                    cells[who] += f" ({low:.4f} to {high:.4f})"
            table.append((f"{label(metric)}{'' if variant == headline else f', {variant}'}", cells))
    return table


def breadth_rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """What the lists consist of, headline variant."""
    headline, k = metrics[metrics["protocol"]["headline"]], metrics["protocol"]["headline_k"]
    return [
        (
            f"Catalogue coverage@{k}",
            {who: f"{headline[who][f'coverage_at_{k}']:.1%}" for who in NAMES},
        ),
        (
            f"Mean training count of the items@{k}",
            {who: f"{headline[who][f'popularity_at_{k}']:.1f}" for who in NAMES},
        ),
        (f"Novelty@{k} (bits)", {who: f"{headline[who][f'novelty_at_{k}']:.2f}" for who in NAMES}),
    ]


def _order(metric: str) -> tuple[int, int]:
    """Recall, NDCG, MRR, each by k: a metrics.json that was read back is sorted by letters (10, 20, 5)."""
    name, _, k = metric.partition("_at_")
    return ("recall", "ndcg", "mrr").index(name), int(k)


def label(metric: str) -> str:
    """`recall_at_10` -> `Recall@10`."""
    name, _, k = metric.partition("_at_")
    return f"{ {'recall': 'Recall', 'ndcg': 'NDCG', 'mrr': 'MRR'}.get(name, name) }@{k}"


def markdown(metrics: Mapping[str, Any]) -> str:
    """Sentences and table as Markdown."""
    lines = [*(f"- {line}" for line in sentences(metrics)), ""]
    lines += ["| | " + " | ".join(NAMES.values()) + " |", "|---" * (len(NAMES) + 1) + "|"]
    for name, cells in [*rows(metrics), *breadth_rows(metrics)]:
        lines.append(f"| {name} | " + " | ".join(cells[who] for who in NAMES) + " |")
    return "\n".join(lines) + "\n"
