"""Reads metrics.json and checks that it is what `evaluate` writes.

The file is meant to be read, and so it is edited, merged by git, or written by another version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.evaluation.contenders import BREADTH, CONTENDERS, HEADLINE, MODEL, RANKING, TIES, VARIANTS
from components.evaluation.repeats import EXPLORE, REPEAT
from components.storage.artifacts import read_json

VERDICTS = ("better", "no clear difference", "worse", "too few users")
_METRIC = re.compile(rf"({'|'.join(RANKING)})_at_[1-9]\d*")


def read_metrics(path: Path) -> dict[str, Any]:
    """The content. Raises `BadInput` that names what is missing or of another kind, for all that summaries read."""
    metrics = read_json(path)
    wrong = next(_problems(metrics), None)
    if wrong:
        raise BadInput(f"not what `evaluate` writes: {wrong}", where=str(path), mend="run the stage `evaluate` again")
    return dict(metrics)


def _problems(metrics: Any) -> Iterator[str]:
    """What is wrong, the first first; later checks rely on the earlier ones, and only the first is asked for."""
    if not isinstance(metrics, dict):
        yield "it holds no object"
    for name in ("protocol", *VARIANTS, "intervals", "breadth_intervals", "against", "ties"):
        if not isinstance(metrics.get(name), dict):
            yield f"{name} is missing or no object"
    protocol = metrics["protocol"]
    if protocol.get("headline") not in VARIANTS:
        yield f"protocol.headline is {protocol.get('headline')!r}"
    if type(protocol.get("headline_k")) is not int or not isinstance(protocol.get("training"), str):
        yield "protocol.headline_k or protocol.training is missing or of another kind"
    yield from _ties_problems(metrics["ties"], protocol)
    for section in ("intervals", "against", *VARIANTS):
        yield from (f"{section}.{who}: nobody of this name is compared" for who in metrics[section].keys() - CONTENDERS)
    k = protocol["headline_k"]
    for who in CONTENDERS:
        intervals = metrics["intervals"].get(who)
        if not isinstance(intervals, dict) or not {f"recall_at_{k}", f"ndcg_at_{k}"} <= set(intervals):
            yield f"intervals.{who} lacks recall or NDCG at {k}"
        if intervals.keys() != metrics["intervals"][MODEL].keys():
            yield f"intervals.{who} has other metrics than intervals.model"
        unfit = (metric for metric, each in intervals.items() if not (_METRIC.fullmatch(metric) and _pair(each)))
        yield from (f"intervals.{who}.{metric}" for metric in unfit)
        needed = {*intervals, *(f"{breadth}_at_{k}" for breadth in BREADTH)}
        broad = metrics["breadth_intervals"].get(who)
        yield from (
            f"breadth_intervals.{who}.{breadth}_at_{k}"
            for breadth, kind in BREADTH.items()
            if kind.interval and not (isinstance(broad, dict) and _pair(broad.get(f"{breadth}_at_{k}")))
        )
        for variant in VARIANTS:
            figures = metrics[variant].get(who)
            found = figures if isinstance(figures, dict) else {}
            wrong = (metric for metric in sorted(needed | found.keys()) if not _number(found.get(metric)))
            yield from (f"{variant}.{who}.{metric}" for metric in wrong)
    yield from _repeat_problems(metrics.get("repeats", {}), k)
    for name, metric_gains in metrics["against"].items():
        if not isinstance(metric_gains, dict) or not metric_gains:
            yield f"against.{name}"
        for metric, gain in metric_gains.items():
            known = isinstance(gain, dict) and gain.get("verdict") in VERDICTS and _pair(gain.get("interval"))
            if not known or not _number(gain.get("difference")) or metric not in metrics["intervals"][name]:
                yield f"against.{name}.{metric}"
    yield from _trust_problems(metrics.get("trust", {}))


def _trust_problems(found: Any) -> Iterator[str]:
    """What decides trust: an evaluation without reports beside it, like those of a grid, has nothing there."""
    if not isinstance(found, dict):
        yield "trust is no object"
    validation, warned = found.get("validation", {}), found.get("warnings", [])
    missed = validation.get("not_met", []) if isinstance(validation, dict) else None
    if not isinstance(missed, list) or not all(isinstance(each, dict) and "name" in each for each in missed):
        yield "trust.validation is no list of checks"
    if not isinstance(warned, list) or not all(isinstance(each, list) and len(each) == 2 for each in warned):
        yield "trust.warnings is no list of stages and sentences"


def _repeat_problems(found: Any, k: int) -> Iterator[str]:
    if found == {}:
        return
    if not isinstance(found, dict):
        yield "repeats is no object"
    users = found.get("users")
    if not isinstance(users, dict) or not all(type(users.get(kind)) is int for kind in (REPEAT, EXPLORE)):
        yield "repeats.users is missing or of another kind"
    needed = {f"{kind}_{name}_at_{k}" for kind in (REPEAT, EXPLORE) if users[kind] for name in HEADLINE}
    for variant in VARIANTS:
        for who in CONTENDERS:
            each = found[variant].get(who) if isinstance(found.get(variant), dict) else None
            figures = each if isinstance(each, dict) else {}
            wrong = sorted(needed | {f"repeat_share_at_{k}"} | figures.keys())
            yield from (f"repeats.{variant}.{who}.{name}" for name in wrong if not _number(figures.get(name)))

    known = found.get("intervals", {})
    if not isinstance(known, dict) or not all(
        isinstance(each, dict) and all(map(_pair, each.values())) for each in known.values()
    ):
        yield "repeats.intervals"


def _ties_problems(found: dict[str, Any], protocol: dict[str, Any]) -> Iterator[str]:
    """The headline's order of ties, and the figures under the other one where there is one."""
    orders = (found.get("order"), found.get("other"))
    if orders[0] not in TIES or orders[0] != protocol.get("ties"):
        yield f"ties.order is {orders[0]!r}, protocol.ties {protocol.get('ties')!r}"
    if orders[1] is None:
        return
    if orders[1] not in TIES or type(found.get("users")) is not int:
        yield "ties.other or ties.users is missing or of another kind"
    for group in ("all", "held_out"):
        of_group = found.get(group)
        if not isinstance(of_group, dict) or (group == "held_out" and type(of_group.get("users")) is not int):
            yield f"ties.{group}"
        for order in orders if group == "all" or found[group]["users"] else ():
            of_order = found[group].get(order)
            wanted = CONTENDERS.keys() - {MODEL} if group == "all" else CONTENDERS.keys()
            if not isinstance(of_order, dict) or of_order.keys() != wanted:
                yield f"ties.{group}.{order}"
            names = {f"{metric}_at_{protocol['headline_k']}" for metric in HEADLINE}
            for who, figures in of_order.items():
                if not isinstance(figures, dict) or figures.keys() != names or not all(map(_number, figures.values())):
                    yield f"ties.{group}.{order}.{who}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))
