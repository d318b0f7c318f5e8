"""What report.html says of the voices: a forest plot of what each adds beyond the rest, and tables of voices.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from components.evaluation.cells import Cell, figure
from components.evaluation.comparison.first_screen import KIND
from components.evaluation.comparison.forest import Row, forest
from components.evaluation.contenders import HEADLINE, TIES, metric_label
from components.evaluation.voices import HYBRID, MIXTURE, called
from components.pages.render import whole


class _Difference(NamedTuple):
    users: int
    difference: float
    low: float
    high: float


def adds(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The plot, the largest first; None where there is no ranker."""
    if not found.get("adds"):
        return None
    users = found["asked"]
    rows = [
        Row(called(name), "", KIND.get(gain["verdict"], ""), _Difference(users, gain["difference"], *gain["interval"]))
        for name, gain in sorted(found["adds"].items(), key=lambda each: -each[1]["difference"])
    ]
    metric = metric_label(f"ndcg_at_{found['k']}")
    caption = (
        f"Difference in {metric}, all together minus all without one, of the same users, {found['headline']}: right of "
        f"the dotted line it adds something. {_sentence(found['how'])} The language model: the mixture minus the "
        "ranker alone. Whiskers are 95 % intervals."
    )
    return forest(rows, total=False) | {"caption": caption}


def tables(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Both masks, pairs, both protocols, both orders of ties, slices; none where there is no ranker."""
    if not found:
        return []
    made = [_masks(found), _pairs(found), _protocols(found), _ties(found), *_slices(found)]
    return [table for table in made if table and table["rows"]]


def found_by(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which voice proposed the hits; None where there is no ranker."""
    if "found_by" not in found:
        return None
    hits, voices = found["found_by"]["hits"], found["found_by"]["voices"]
    rows = [
        (called(name), [Cell(f"{each['share']:.1%}"), Cell(f"{each['alone']:.1%}")])
        for name, each in sorted(voices.items(), key=lambda each: -each[1]["share"])
    ]
    caption = (
        f"Who found the {whole(hits)} hits of the ranker: the share that was among what a voice proposes, and what no "
        "other one did"
    )
    return _table(caption, ["Proposed", "Alone"], rows)


def _pairs(found: Mapping[str, Any]) -> dict[str, Any]:
    alone, k = found[found["headline"]], found["k"]
    names = [name for name in alone if name not in (HYBRID, MIXTURE)]

    def cell(one: str, other: str) -> Cell:
        if one == other:
            return figure(alone[one][f"ndcg_at_{k}"])
        pairs = found["pairs"]
        return figure(pairs[one][other] if other in pairs.get(one, {}) else pairs[other][one])

    rows = [(called(one), [cell(one, other) for other in names]) for one in names]
    caption = (
        f"Pairs: {metric_label(f'ndcg_at_{k}')} of two lists by reciprocal rank fusion, without training, "
        f"{found['headline']}; each alone where its row meets its column"
    )
    return _table(caption, [called(name) for name in names], rows)


def _slices(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    made, k = [], found["k"]
    for slicing, groups in found["slices"].items():
        rows = [("users", [Cell(whole(group["users"])) for group in groups.values()])]
        rows += [
            (called(who), [figure(group["ndcg"][who]) for group in groups.values()])
            for who in next(iter(groups.values()))["ndcg"]
        ]
        caption = f"Voices by {slicing}: {metric_label(f'ndcg_at_{k}')}, {found['headline']}"
        made.append(_table(caption, list(groups), rows))
    return made


def _masks(found: Mapping[str, Any]) -> dict[str, Any]:
    k = found["k"]
    rows = [
        (
            called(name),
            [
                figure(found[variant][name][f"{metric}_at_{k}"])
                for variant in ("masked", "unmasked")
                for metric in HEADLINE
            ],
        )
        for name in found["masked"]
    ]
    columns = [f"{metric_label(f'{metric}_at_{k}')}, {mask}" for mask in ("masked", "unmasked") for metric in HEADLINE]
    return _table(f"Voices, seen items left out and not; {found['training']}", columns, rows)


def _protocols(found: Mapping[str, Any]) -> dict[str, Any] | None:
    both, k, protocols = found.get("protocols"), found["k"], ("strict", "refit")
    if not both:
        return None
    rows = [(called(name), [figure(each[one][f"ndcg_at_{k}"]) for one in protocols]) for name, each in both.items()]
    caption = (
        f"Voices strict and refit: {metric_label(f'ndcg_at_{k}')}, {found['headline']}. Refit: voices are built once "
        "more with the validation items, and the ranker stays as it was taught. The language model would have to be "
        "trained again (train.refit)"
    )
    return _table(caption, list(protocols), rows)


def _ties(found: Mapping[str, Any]) -> dict[str, Any] | None:
    ties, k = found["ties"], found["k"]
    if ties["other"] is None:
        return None
    orders = (ties["order"], ties["other"])
    rows = [
        (called(name), [figure(each[order][f"ndcg_at_{k}"]) for order in orders])
        for name, each in ties["voices"].items()
    ]
    caption = (
        f"Voices under both orders of ties: {metric_label(f'ndcg_at_{k}')}, {whole(ties['users'])} users. Under the "
        "other one voices are built anew, and the ranker stays as it was taught"
    )
    return _table(caption, [TIES[order] for order in orders], rows)


def _table(caption: str, columns: list[str], rows: list[tuple[str, list[Cell]]]) -> dict[str, Any]:
    return {
        "caption": caption,
        "columns": columns,
        "rows": [{"name": name, "kind": "", "cells": cells} for name, cells in rows],
    }


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."
