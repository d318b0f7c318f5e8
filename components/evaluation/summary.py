"""Summarises the metrics in sentences and one table, for the report, MLflow's run description and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.evaluation import repeats, together, trust_box, voices
from components.evaluation.cells import Cell, figure
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
from components.pages.render import number, signed


@dataclass(frozen=True)
class Claim:
    """What is said of the model beside one baseline."""

    name: str
    """The baseline, as in `contenders`."""
    verdict: str
    """That of the worse of the two metrics."""
    sentence: str
    """What both metrics say, without figures and full stop."""
    figures: str
    """Both metrics, the difference of each and its interval."""


def claims(metrics: Mapping[str, Any]) -> list[Claim]:
    """Does the model win? One claim for each baseline, worst news first.

    The sentence holds for both metrics; where they disagree it says which of them. Of fewer than `LEAST_USERS` test
    users there is no verdict.
    """
    headline = metrics[metrics["protocol"]["headline"]]
    made = []
    for name in sorted(metrics["against"], key=list(CONTENDERS).index):  # the strongest first
        against = metrics["against"][name]
        verdicts = {metric: against[metric]["verdict"] for metric in sorted(against, key=metric_order)}
        figures = []
        for metric in verdicts:
            own, other, found = headline[MODEL][metric], headline[name][metric], against[metric]
            times = f", {own / other:.1f} times" if other > 0 and own / other >= _TELLING else ""
            low, high = found["interval"]
            figures.append(
                f"{metric_label(metric)} {number(own)} against {number(other)}{times} (difference "
                f"{signed(found['difference'])}, 95 % {signed(low)} to {signed(high)})"
            )
        worst = min(verdicts.values(), key=_ORDER.__getitem__)
        made.append(Claim(name, worst, _sentence(verdicts, worst, CONTENDERS[name].phrase), "; ".join(figures)))
    return sorted(made, key=lambda claim: _ORDER[claim.verdict])


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Every claim with its figures, worst news first; then the mean over several catalogues, who answers as the model,
    and what is bought again."""
    said = [f"{claim.sentence}: {claim.figures}." for claim in claims(metrics)]
    return [*said, *together.sentences(metrics), *voices.sentences(metrics), *repeats.sentences(metrics)]


def _sentence(verdicts: Mapping[str, str], worst: str, phrase: str) -> str:
    """The worst verdict, and where the metrics disagree, in which of them and what the other says."""
    whole = f"{_OPENING[worst]} {phrase}"
    others = {metric: verdict for metric, verdict in verdicts.items() if verdict != worst}
    if not others:
        return whole
    where = " and ".join(metric_label(metric) for metric, verdict in verdicts.items() if verdict == worst)
    rest = "; ".join(f"{_BESIDE[verdict]} in {metric_label(metric)}" for metric, verdict in others.items())
    return f"{whole}{',' if ',' in phrase else ''} in {where}; {rest}"


_TELLING = 1.5
"""A figure that is so many times the other is said as that; of less the difference says enough."""
_ORDER = {"worse": 0, "too few users": 1, "no clear difference": 2, "better": 3}
_OPENING = {
    "worse": "The model LOSES to",
    "too few users": f"Too few test users (under {LEAST_USERS}) to tell whether the model beats",
    "no clear difference": "No clear difference between the model and",
    "better": "The model beats",
}
_BESIDE = {"no clear difference": "no clear difference", "better": "it is ahead"}


def rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, Cell]]]:
    """Metric -> name -> cell: both variants, the headline one first and with its intervals."""
    headline = metrics["protocol"]["headline"]
    table = []
    for variant in sorted(VARIANTS, key=lambda each: each != headline):
        for metric in sorted(metrics["intervals"][MODEL], key=metric_order):
            cells = {
                who: figure(
                    metrics[variant][who][metric], metrics["intervals"][who][metric] if variant == headline else None
                )
                for who in CONTENDERS
            }
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
        f" from {number(before[who][metric])} to {number(after[who][metric])} ({CONTENDERS[who].label})"
        for who in CONTENDERS
        if who in before
    )
    return ",".join(changes)


def ties_rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, Cell]]]:
    """Users, order of ties and metric -> name -> cell, for the headline variant; none where there is no other."""
    found, table = metrics["ties"], []
    if found["other"] is None:
        return []
    for group, said in (("all", "all users"), ("held_out", f"{found['held_out']['users']:,} users")):
        for order in (found["order"], found["other"]):
            figures = found[group].get(order, {})
            for metric in sorted(next(iter(figures.values()), {}), key=metric_order):
                cells = {who: figure(figures[who][metric]) if who in figures else Cell("-") for who in CONTENDERS}
                table.append((f"{metric_label(metric)}, {order}, {said}", cells))
    return table


def breadth_rows(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, Cell]]]:
    """What the lists consist of, headline variant."""
    headline, k = metrics[metrics["protocol"]["headline"]], metrics["protocol"]["headline_k"]

    def cell(who: str, name: str) -> Cell:
        metric, digits = f"{name}_at_{k}", BREADTH[name].digits
        text = f"{headline[who][metric]:{digits}}"
        if not BREADTH[name].interval:
            return Cell(text)
        low, high = metrics["breadth_intervals"][who][metric]
        return Cell(text, f"{low:{digits}} to {high:{digits}}")

    return [(kind.label.format(k=k), {who: cell(who, name) for who in CONTENDERS}) for name, kind in BREADTH.items()]


def markdown(metrics: Mapping[str, Any]) -> str:
    """Sentences, table and what decides whether they can be trusted, as Markdown."""
    lines = [*(f"- {line}" for line in [*sentences(metrics), ties(metrics)]), ""]
    lines += [f"**Can this be trusted?** {' '.join(trust_box.in_words(metrics))}", ""]
    lines += [
        "| with 95 % intervals | " + " | ".join(labels().values()) + " |",
        "|---" + "|--:" * len(CONTENDERS) + "|",
    ]
    for name, cells in [*rows(metrics), *breadth_rows(metrics), *repeats.rows(metrics)]:
        lines.append(f"| {name} | " + " | ".join(str(cells[who]) for who in CONTENDERS) + " |")
    return "\n".join(lines) + "\n"
