"""The adaptation curve of a version on a page: a line a way over the users that are known, a table, and what it says.

found = read(layout.curve, layout.metrics)           # curve.json, where it is of that evaluation; else {}
shown(found)                                         # values for `parts.curve` of components/pages
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.evaluation.cells import Cell, figure
from components.evaluation.comparison.forest import ticks
from components.pages.render import number, render, whole
from components.pages.stamp import filled
from components.storage.artifacts import publish_json, publishing_together, read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256

LABELS = {
    **{"few_shot": "few-shot", "foundation": "foundation ranker", "own_ranker": "own ranker"},
    **{"graph_text": "graph + text", "graph": "graph", "text": "text"},
    **{"full": "LM, full", "lora": "LM, LoRA", "prompt": "LM, prompt", "scratch": "LM, scratch"},
}
"""Way of curve.json -> how it appears, in order."""
_KINDS = {"few_shot": "side-0", "foundation": "side-2", "own_ranker": "side-3"}
"""Way -> class of the stylesheet; others are grey, and what answers has the model's colour."""
_ANSWERS = "side-1"
_LINE = 100 * 22 / 320
"""Height of a label, in per cent of the picture's."""
_TICK = 14.0
"""Least way between two numbers under the picture, in per cent of its width."""


def read(curve: Path, metrics: Path) -> dict[str, Any]:
    """What curve.json holds; nothing where there is none, or where it was taken of another evaluation."""
    found = read_json(curve) if curve.is_file() else {}
    if not found or found.get("metrics") != sha256(metrics):
        return {}
    return found | {"curve": dict(sorted(found["curve"].items(), key=lambda each: int(each[0])))}


def publish(layout: Layout, found: Mapping[str, Any]) -> None:
    """Write curve.json beside the metrics that it is of, and the report once more, with the curve. Raises `BadInput`
    for a report without a place for one."""
    page = layout.report.read_text(encoding="utf-8")
    try:
        text = filled(page, "curve", render("curve.html.jinja", curve=shown(found)))
    except ValueError as error:
        mend = "run the stage `evaluate` again: the report was written by another version"
        raise BadInput(str(error), where=str(layout.report), mend=mend) from error
    with publishing_together(layout.report, layout.curve) as (report_to, curve_to):
        report_to.write_text(text, encoding="utf-8")
        publish_json(curve_to, found)


def shown(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Picture, table, caption and sentences; None without a curve."""
    if not found:
        return None
    said = sentences(found)
    return {"sentences": said, "caption": _caption(found), "plot": _plot(found), "table": _table(found)}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Who is best at which size, and from where on it is clear of text alone."""
    curve, last = found["curve"], list(found["curve"])[-1]
    best = [(users, max(each, key=lambda way: each[way]["ndcg_at_10"])) for users, each in curve.items()]
    runs = [(way, [users for users, _ in of]) for way, of in groupby(best, key=lambda each: each[1])]
    parts = [f"{LABELS[way]} at {_span(sizes, last, found['users'])}" for way, sizes in runs]
    clear = [(way, _clear(found, way)) for way in _ways(found) if way != "text"]
    said = [f"{LABELS[way]} {f'from {whole(int(start))} on' if start else 'not yet'}" for way, start in clear]
    return [
        f"Best, by how many users are known: {', '.join(parts)}.",
        f"Clearly above text alone, there and with more users: {', '.join(said)} "
        f"(paired over {whole(found['test_users'])} test users, 95 %).",
    ]


def _span(sizes: Sequence[str], last: str, users: int) -> str:
    ends = [f"all {whole(users)}" if each == last and int(each) == users else whole(int(each)) for each in sizes]
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


def _clear(found: Mapping[str, Any], way: str) -> str | None:
    """The least number of users from which on the interval of the difference to text is above zero."""
    start = None
    for users, each in reversed(found["curve"].items()):
        if way not in each or each[way]["over_text"][1] <= 0:
            break
        start = users
    return start


def _ways(found: Mapping[str, Any]) -> list[str]:
    return [way for way in LABELS if any(way in each for each in found["curve"].values())]


def _caption(found: Mapping[str, Any]) -> str:
    draws = "one draw" if found["draws"] == 1 else f"{found['draws']} draws"
    return (
        f"NDCG@10 by how many of the shop's {whole(found['users'])} users are known, always on the same "
        f"{whole(found['test_users'])} test users; the mean of {draws} of the known users, the band from the lowest to "
        f"the highest draw.{' The dot is what answers, which knows all users.' if _has_all(found) else ''}"
    )


def _has_all(found: Mapping[str, Any]) -> bool:
    """Whether the last point knows everybody, as what answers does."""
    return list(found["curve"])[-1] == str(found["users"])


def _plot(found: Mapping[str, Any]) -> dict[str, Any]:
    """Places in per cent of width and height, from the left and from the top."""
    curve, answers = found["curve"], found["answers"]
    sizes = [int(users) for users in curve]
    across = _across(sizes)
    ends = [each[way] for each in curve.values() for way in each]
    low = min([answers["ndcg_at_10"], *(min(each["draws"]) for each in ends)])
    high = max([answers["ndcg_at_10"], *(max(each["draws"]) for each in ends)])
    room = (high - low) * 0.06 or 0.01
    low, high = max(0.0, low - room), high + room

    def place(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    lines = []
    for way in _ways(found):
        points = [(across[int(users)], each[way]) for users, each in curve.items() if way in each]
        band = [(x, place(max(each["draws"]))) for x, each in points]
        band += [(x, place(min(each["draws"]))) for x, each in reversed(points)]
        places = [(x, place(each["ndcg_at_10"])) for x, each in points]
        value = points[-1][1]["ndcg_at_10"]
        kind = _KINDS.get(way, "grey")
        lines.append(_line(LABELS[way], kind, places, value) | {"band": _joined(band)})
    dot = [(across[sizes[-1]], place(answers["ndcg_at_10"]))] if _has_all(found) else []
    if dot:
        lines.append(_line("what answers", _ANSWERS, dot, answers["ndcg_at_10"]) | {"band": ""})
    return {
        "lines": lines,
        "labels": _apart(lines),
        "up": [{"at": place(value), "text": number(value, 2)} for value in ticks(low, high) if value >= 0],
        "along": _along(sizes, across, found["users"]),
        "alt": "Adaptation curve. " + " ".join(sentences(found)),
    }


def _line(label: str, kind: str, places: Sequence[tuple[float, float]], value: float) -> dict[str, Any]:
    dots = [{"x": x, "y": y} for x, y in places]
    return {"label": label, "kind": kind, "points": _joined(places), "dots": dots, "value": number(value, 3)}


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _across(sizes: Sequence[int]) -> dict[int, float]:
    """Number of users -> place: steps of a factor are alike, and nobody lies a step of three before the fewest."""
    fewest = min([each for each in sizes if each], default=1)
    raw = {each: 0.5 + math.log10(each / fewest) if each else 0.0 for each in sizes}
    low, high = min(raw.values()), max(raw.values())
    return {each: round(2 + 96 * (at - low) / (high - low), 2) if high > low else 50.0 for each, at in raw.items()}


def _along(sizes: Sequence[int], across: Mapping[int, float], users: int) -> list[dict[str, Any]]:
    """Numbers under the picture, the last one always, others where there is room."""
    kept: list[dict[str, Any]] = []
    for each in reversed(sizes):
        if not kept or kept[-1]["at"] - across[each] >= _TICK:
            kept.append({"at": across[each], "text": f"{'all ' if each == users else ''}{whole(each)}"})
    return kept[::-1]


def _apart(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A label a line, beside its last point as far as they do not cover one another, the highest first."""
    labels = [
        {"text": each["label"], "value": each["value"], "kind": each["kind"], "at": each["dots"][-1]["y"]}
        for each in lines
    ]
    labels.sort(key=lambda each: each["at"])
    for before, each in pairwise(labels):
        each["at"] = max(each["at"], before["at"] + _LINE)
    most = 100.0
    for each in reversed(labels):
        each["at"] = round(min(each["at"], most), 2)
        most = each["at"] - _LINE
    return labels


def _table(found: Mapping[str, Any]) -> dict[str, Any]:
    def cell(each: Mapping[str, Any] | None) -> Cell:
        return figure(each["ndcg_at_10"], (each["low"], each["high"])) if each else Cell("")

    rows = [
        {
            "name": LABELS[way],
            "kind": _KINDS.get(way, "grey"),
            "cells": [cell(each.get(way)) for each in found["curve"].values()],
        }
        for way in _ways(found)
    ]
    empty = [Cell("")] * (len(found["curve"]) - 1)
    if _has_all(found):
        rows.append({"name": "what answers", "kind": _ANSWERS, "cells": [*empty, cell(found["answers"])]})
    caption = "NDCG@10 by users that are known: the mean of the draws and its 95 % interval over the test users."
    return {"caption": caption, "columns": [f"{whole(int(each))} users" for each in found["curve"]], "rows": rows}
