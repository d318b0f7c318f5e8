"""Summarises the metrics in sentences and one table, for the report, MLflow's run description and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.evaluation import repeats
from components.evaluation.contenders import (
    BREADTH,
    CONTENDERS,
    MODEL,
    TIES,
    VARIANTS,
    labels,
    metric_label,
    metric_order,
)
from components.evaluation.metrics import LEAST_USERS


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Does the model win? One sentence against each baseline, worst news first; then one about repeats, if there are.

    In brackets: 95 % interval of the paired difference. The worse of the two metrics decides the verdict; of fewer than
    `LEAST_USERS` test users there is none.
    """
    headline = metrics[metrics["protocol"]["headline"]]
    order = {"worse": 0, "too few users": 1, "no clear difference": 2, "better": 3}
    lines = []
    for name, against in metrics["against"].items():
        verdict = min((each["verdict"] for each in against.values()), key=order.__getitem__)
        figures = []
        for metric, found in sorted(against.items(), key=lambda each: metric_order(each[0])):
            own, other, (low, high) = headline[MODEL][metric], headline[name][metric], found["interval"]
            times = f", {own / other:.1f} times" if other else ""
            figures.append(f"{metric_label(metric)} {own:.4f} against {other:.4f}{times} ({low:+.4f} to {high:+.4f})")
        lines.append((order[verdict], f"{_OPENING[verdict]} {CONTENDERS[name].phrase}: {'; '.join(figures)}."))
    return [line for _, line in sorted(lines, key=lambda each: each[0])] + repeats.sentences(metrics)


_OPENING = {
    "worse": "The model LOSES to",
    "too few users": f"Too few test users (under {LEAST_USERS}) to tell whether the model beats",
    "no clear difference": "No clear difference between the model and",
    "better": "The model beats",
}


def rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Metric -> name -> cell text: both variants, the headline one first and with its intervals."""
    headline = metrics["protocol"]["headline"]
    table = []
    for variant in sorted(VARIANTS, key=lambda each: each != headline):
        for metric in sorted(metrics["intervals"][MODEL], key=metric_order):
            cells = {}
            for who in CONTENDERS:
                cells[who] = f"{metrics[variant][who][metric]:.4f}"
                if variant == headline:
                    low, high = metrics["intervals"][who][metric]
                    cells[who] += f" ({low:.4f} to {high:.4f})"
            table.append((f"{metric_label(metric)}{'' if variant == headline else f', {variant}'}", cells))
    return table


def ties(metrics: Mapping[str, Any]) -> str:
    """Which order interactions at the same time have in the headline, and what the other one would make of NDCG."""
    found, metric = metrics["ties"], f"ndcg_at_{metrics['protocol']['headline_k']}"
    line = f"Interactions at the same time have {TIES[found['order']]} (clean.ties: {found['order']})."
    if found["other"] is None:
        return line
    line += f" With {TIES[found['other']]} instead ({found['other']}), {metric_label(metric)} goes"
    line += f"{_change(found, 'all', metric)} for all {found['users']:,} users"
    if found["held_out"]["users"]:
        line += (
            f";{_change(found, 'held_out', metric)} for the {found['held_out']['users']:,} of them whose other target"
        )
        line += " the model was not trained on"
    return line + "."


def _change(found: Mapping[str, Any], group: str, metric: str) -> str:
    before, after = (found[group][found[name]] for name in ("order", "other"))
    changes = (
        f" from {before[who][metric]:.4f} to {after[who][metric]:.4f} ({CONTENDERS[who].label})"
        for who in CONTENDERS
        if who in before
    )
    return ",".join(changes)


def ties_rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Users, order of ties and metric -> name -> cell text, for the headline variant; none where there is no other."""
    found, table = metrics["ties"], []
    if found["other"] is None:
        return []
    for group, said in (("all", "all users"), ("held_out", f"{found['held_out']['users']:,} users")):
        for order in (found["order"], found["other"]):
            figures = found[group].get(order, {})
            for metric in sorted(next(iter(figures.values()), {}), key=metric_order):
                cells = {who: f"{figures[who][metric]:.4f}" if who in figures else "-" for who in CONTENDERS}
                table.append((f"{metric_label(metric)}, {order}, {said}", cells))
    return table


def breadth_rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """What the lists consist of, headline variant."""
    headline, k = metrics[metrics["protocol"]["headline"]], metrics["protocol"]["headline_k"]

    def cell(who: str, name: str) -> str:
        metric, digits = f"{name}_at_{k}", BREADTH[name].digits
        text = f"{headline[who][metric]:{digits}}"
        if not BREADTH[name].interval:
            return text
        low, high = metrics["breadth_intervals"][who][metric]
        return f"{text} ({low:{digits}} to {high:{digits}})"

    return [(kind.label.format(k=k), {who: cell(who, name) for who in CONTENDERS}) for name, kind in BREADTH.items()]


def markdown(metrics: Mapping[str, Any]) -> str:
    """Sentences and table as Markdown."""
    lines = [*(f"- {line}" for line in [*sentences(metrics), ties(metrics)]), ""]
    lines += ["| | " + " | ".join(labels().values()) + " |", "|---" * (len(CONTENDERS) + 1) + "|"]
    for name, cells in [*rows(metrics), *breadth_rows(metrics), *repeats.rows(metrics)]:
        lines.append(f"| {name} | " + " | ".join(cells[who] for who in CONTENDERS) + " |")
    return "\n".join(lines) + "\n"
