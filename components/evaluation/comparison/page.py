"""The page of a comparison: what the first screen says, its pictures and tables, for the template.

html = page(found, dataset="demo", provenance=[("command", "idiom compare champion challenger")])
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation import adaptation
from components.evaluation.comparison import adds, shown
from components.evaluation.comparison.compare import LEAST_IN_SLICE, Comparison, judge
from components.evaluation.comparison.first_screen import KIND, answer, label, tiles
from components.evaluation.comparison.forest import Row, forest
from components.evaluation.comparison.paired import Paired
from components.evaluation.contenders import CONTENDERS, metric_label
from components.pages.render import render, whole


def page(
    found: Comparison,
    *,
    dataset: str,
    provenance: Sequence[Mapping[str, str]] = (),
    decision: Mapping[str, Any] | None = None,
    sample: int = 500,
) -> str:
    """The whole page. `decision`: as `first_screen.tiles` takes it; `sample`: users to look up."""
    names = [side.name for side in found.sides]
    gained, lost = shown.movers(found)
    looked_up = shown.sample(found, sample)
    pictures = shown.pictured(found, [*gained, *lost, *looked_up])
    place = {item_id: at for at, item_id in enumerate(pictures)}
    return render(
        "comparison.html.jinja",
        scripts=["make.js", "comparison.js"],
        title=f"{names[1]} against {names[0]}, {dataset}",
        eyebrow=f"{dataset}: {', '.join(names[1:])} against {names[0]}",
        names=names,
        answer=answer(found),
        tiles=tiles(found, decision),
        forest=forest(_rows(found), total=True) | {"caption": _forest_caption(found)},
        others=_others(found),
        figures=_figures(found),
        voices=adds.voices(found.sides),
        costs=adds.costs(found.sides),
        curves=[{"name": side.name, **curve} for side in found.sides if (curve := adaptation.shown(side.curve))],
        moves=_moves(found),
        movers=[
            {"heading": f"The {len(gained)} who gained most", "users": gained},
            {"heading": f"The {len(lost)} who lost most", "users": lost},
        ],
        lookup={"sentence": _sampled(found, len(looked_up)), "data": shown.as_data(looked_up, names, place)},
        pictures=[b64encode(each).decode() for each in pictures.values()],
        place=place,
        reading=_READING,
        provenance=[{"code": "", **line} for line in provenance],
    )


def _rows(found: Comparison) -> list[Row]:
    overall = found.pairs[0].overall[found.metric]
    rows = [Row("All users", "", KIND.get(judge(overall), ""), overall)]
    for each in found.pairs[0].slices:
        kind = KIND.get(each.verdict, "") if each.judged else "few"
        note = "" if each.judged else f"under {LEAST_IN_SLICE} users: not judged"
        rows.append(Row(label(each), note, kind, each.found))
    return rows


def _others(found: Comparison) -> dict[str, Any] | None:
    if len(found.pairs) == 1:
        return None
    differences = [(found.sides[pair.side].name, pair.overall[found.metric]) for pair in found.pairs]
    rows = [Row(name, "", KIND.get(judge(each), ""), each) for name, each in differences]
    caption = f"Difference in {metric_label(found.metric)} to {found.sides[0].name}, all users, 95 % intervals."
    return forest(rows, total=False) | {"caption": caption}


def _forest_caption(found: Comparison) -> str:
    old, new = (side.name for side in found.sides[:2])
    return (
        f"Difference in {metric_label(found.metric)}, {new} minus {old}, of the same users: right of the dotted line "
        f"{new} is better. Whiskers are 95 % intervals; green and red where the difference stays clear after "
        "correction for the number of slices."
    )


def _figures(found: Comparison) -> dict[str, Any]:
    metrics, names = list(found.pairs[0].overall), [side.name for side in found.sides]
    best = {metric: _best(found, metric) for metric in metrics}
    rows = []
    for name, each in found.figures.items():
        kind = f"side-{names.index(name)}" if name in names else "grey"
        cells = [{"value": each[m][0], "low": each[m][1], "high": each[m][2], "best": best[m] == name} for m in metrics]
        rows.append({"name": name if name in names else CONTENDERS[name].label, "kind": kind, "cells": cells})

    def cell(each: Paired) -> dict[str, float]:
        return {"value": each.difference, "low": each.low, "high": each.high, "p": each.p}

    differences = [
        {"name": f"{names[pair.side]} minus {names[0]}", "cells": [cell(pair.overall[metric]) for metric in metrics]}
        for pair in found.pairs
    ]
    caption = (
        "Means over the same users with 95 % intervals; bold where the paired interval says which is better. "
        f"Lists are {found.sides[0].headline}."
    )
    return {
        "caption": caption,
        "metrics": [metric_label(metric) for metric in metrics],
        "rows": rows,
        "differences": differences,
    }


def _best(found: Comparison, metric: str) -> str | None:
    """The one of the first two sides that the interval calls better; None where it says nothing, or there are more."""
    if len(found.sides) > 2:
        return None
    verdict = judge(found.pairs[0].overall[metric])
    return {"better": found.sides[1].name, "worse": found.sides[0].name}.get(verdict)


def _moves(found: Comparison) -> dict[str, Any]:
    table = shown.moves(found)
    most = max(1, *table["users"])
    rows = [row | {"width": round(100 * row["users"] / most, 2)} for row in table.iter_rows(named=True)]
    rest = len(found.users) - int(table["users"].sum())
    depth = min(side.depth for side in found.sides[:2])
    caption = f"How the place of what a user took changed, of {depth} places; for {whole(rest)} more it is in no list."
    return {"rows": rows, "caption": caption}


def _sampled(found: Comparison, count: int) -> str:
    total = len(found.users)
    which = (
        f"all {whole(total)} users" if count >= total else f"{whole(count)} of {whole(total)} users, drawn by a hash"
    )
    order = " → ".join(side.name for side in found.sides)
    return f"This page holds {which}. The numbers are the places of what the user took: {order}."


_READING = (
    "Each user's list is ranked against the whole catalogue, and one item is right: what the user took next. Recall is "
    "the share of users whose item is in the list; NDCG gives more for a higher place, MRR is the mean of one over the "
    "place.",
    "Differences are taken user by user. Intervals: percentile bootstrap over users. The permutation test exchanges "
    "the two lists within users and asks how often chance alone would give such a difference. Slices are several looks "
    f"at the same data: their p-values are corrected (Holm), and those of under {LEAST_IN_SLICE} users are not judged.",
    "A baseline learns by counting, in seconds. A model that it is ahead of is not worth serving.",
)
