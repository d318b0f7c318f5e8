"""What the first screen of a comparison says: the answer in one sentence, and three tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.evaluation.comparison.compare import LEAST_IN_SLICE, Comparison, Slice, judge, warnings
from components.evaluation.comparison.sides import Side
from components.evaluation.contenders import CONTENDERS, metric_label
from components.evaluation.metrics import LEAST_USERS
from components.pages.render import number, p_value, signed, whole

KIND = {"better": "better", "worse": "worse"}
"""Verdict -> its class in the stylesheet; others have none."""


def answer(found: Comparison) -> dict[str, str]:
    """The one sentence, its figures, and the colour of the bar beside it."""
    old, new = (side.name for side in found.sides[:2])
    overall = found.pairs[0].overall[found.metric]
    verdict, share = judge(overall), overall.share
    by = f"{abs(share):.1%}".replace("%", " %") + " " if share is not None else ""
    more = f"{by}more than {old}" if share is None or share < 2 else f"{1 + share:.1f} times what {old} finds"
    sentences = {
        "better": f"{_capital(new)} finds {more}.",
        "worse": f"{_capital(new)} finds {by}less than {old}.",
        "no clear difference": f"No clear difference between {new} and {old}.",
        "too few users": f"Too few users to tell {new} from {old}.",
    }
    figures = (
        f"{metric_label(found.metric)} {number(overall.b)} against {number(overall.a)}; difference "
        f"{signed(overall.difference)}, 95 % interval {signed(overall.low)} to {signed(overall.high)}."
    )
    return {"sentence": sentences[verdict], "figures": figures, "kind": KIND.get(verdict, "level")}


def tiles(found: Comparison, decision: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Better? Where? Can it be trusted? `decision`: `accepted`, `reasons` and what was `checked`, of a promotion."""
    lines = [Line(label(each), each.found.difference, each.found.users, each.verdict) for each in found.pairs[0].slices]
    return [_better(found, decision), where(lines), _trusted(found, decision)]


def _better(found: Comparison, decision: Mapping[str, Any] | None) -> dict[str, Any]:
    overall = found.pairs[0].overall[found.metric]
    verdict = judge(overall)
    says = {"better": "Yes", "worse": "No, it is worse", "no clear difference": "Not clear"}.get(
        verdict, "Too few users"
    )
    lies = {"better": "lies above zero", "worse": "lies below zero"}.get(verdict, "holds zero")
    lines = [
        f"The 95 % interval of the paired difference {lies} ({whole(overall.users)} users; permutation test: "
        f"p {p_value(overall.p)}).",
        f"{whole(overall.gained)} users gained, {whole(overall.lost)} lost; the others are as before.",
    ]
    if verdict == "too few users":
        lines[0] = f"Under {LEAST_USERS} users an interval is narrower than it should be, so there is no verdict."
    new = found.figures[found.sides[1].name][found.metric][0]
    ahead = [name for name in _baselines(found) if found.figures[name][found.metric][0] > new]
    lines += [
        f"{_capital(CONTENDERS[name].phrase)}, is ahead of it: {number(found.figures[name][found.metric][0])}."
        for name in ahead[:1]
    ]
    if decision is not None:
        says = "Promoted" if decision["accepted"] else "Refused"
        lines = [str(reason) for reason in decision["reasons"]][:3] + lines
    return {"asks": "Better?", "says": says, "lines": lines}


class Line(NamedTuple):
    """A slice in short: its difference, users and verdict."""

    label: str
    difference: float
    users: int
    verdict: str


def where(lines: Sequence[Line]) -> dict[str, Any]:
    """The tile *Where?*: how many slices are better and worse, the best and the worst; `lines` by their difference."""
    judged = [line for line in lines if line.verdict != "too few users"]
    if not judged:
        lines_said = [f"Each has under {LEAST_IN_SLICE} users."]
        return {"asks": "Where?", "says": "No slice is large enough", "lines": lines_said}
    better, worse = (sum(line.verdict == verdict for line in judged) for verdict in ("better", "worse"))
    says = (
        f"{better} of {len(judged)} slices better, {worse} worse" if better + worse else "No slice is clear by itself"
    )

    def said(which: str, line: Line) -> str:
        return f"{which}: {line.label}, {signed(line.difference)} ({whole(line.users)} users, {line.verdict})."

    return {"asks": "Where?", "says": says, "lines": [said("Best", judged[0]), said("Worst", judged[-1])]}


def _trusted(found: Comparison, decision: Mapping[str, Any] | None) -> dict[str, Any]:
    lines, doubts = [], warnings(found.sides)
    for side in _distinct(found):
        verdict = side.verdict
        if not verdict:
            doubts.append(f"Nobody knows what validation found for {side.name}.")
            continue
        checks = [each for each in verdict.get("checks", []) if isinstance(each, dict)]
        missed = [str(each["name"]).replace("_", " ") for each in checks if not each.get("passed")]
        if not verdict.get("passed"):
            doubts.append(f"Validation FAILED for {side.name}.")
        lines.append(f"Validation: {len(checks) - len(missed)} of {len(checks)} checks met" + _list(missed, "; not: "))
    for reason, count in found.left_out.items():
        if count:
            doubts.append(f"{whole(count)} users: {reason}.")
    seeds = {str(side.protocol.get("seed", "unknown")) for side in found.sides}
    ties = {str(side.protocol.get("ties", "")) for side in found.sides} - {""}
    lines.append(
        f"{whole(len(found.users))} users, the same for all; seed {', '.join(sorted(seeds))}" + _list(ties, "; ties: ")
    )
    lines += [f"{_capital(str(text))}." for text in (decision or {}).get("checked", [])]
    says = "Yes" if not doubts else "With care"
    return {"asks": "Can it be trusted?", "says": says, "lines": [*doubts, *dict.fromkeys(lines)]}


def _distinct(found: Comparison) -> list[Side]:
    """The sides, those of one validation once."""
    kept: list[Side] = []
    for side in found.sides:
        if not any(side.verdict == each.verdict for each in kept):
            kept.append(side)
    return kept


def _baselines(found: Comparison) -> list[str]:
    names = {side.name for side in found.sides}
    return sorted(
        (name for name in found.figures if name not in names), key=lambda name: -found.figures[name][found.metric][0]
    )


def label(each: Slice) -> str:
    """`history length: up to 4`."""
    return f"{each.slicing}: {each.name}"


def _list(words: Iterable[str], before: str) -> str:
    return (f"{before}{', '.join(sorted(words))}" if words else "") + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
