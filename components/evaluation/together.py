"""One model on several catalogues: the figures of each beside one another, and their means.

publish_json(layout.judged_on("toys"), brief(metrics))           # of a further catalogue, for the first one's report
metrics["together"] = together({"demo": brief(metrics), "toys": read_json(...)})
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from components.evaluation.cells import Cell, figure
from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, metric_label
from components.evaluation.voices import HYBRID
from components.pages.render import number, signed, whole

LANGUAGE_MODEL = "generate"
_SHOWN = {**{name: each.label for name, each in CONTENDERS.items()}, LANGUAGE_MODEL: "language model", HYBRID: "ranker"}
"""Who is shown, in order: the contenders, and what answers as the model where there is a ranker."""


def brief(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the table of several catalogues of the metrics of one."""
    protocol = metrics["protocol"]
    names = [f"{metric}_at_{protocol['headline_k']}" for metric in HEADLINE]
    everybody = {**metrics[protocol["headline"]], **metrics.get("voices", {}).get(protocol["headline"], {})}
    return {
        "users": protocol["test_users"],
        "items": protocol["catalogue_items"],
        "k": protocol["headline_k"],
        "protocol": f"{protocol['training']}, {protocol['headline']}, ties: {protocol['ties']}",
        "figures": {who: {name: everybody[who][name] for name in names} for who in _SHOWN if who in everybody},
        "intervals": {who: {name: metrics["intervals"][who][name] for name in names} for who in CONTENDERS},
        "against": metrics["against"],
    }


def together(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of each catalogue, their mean, each catalogue counting alike, and that over all users; and the model
    minus each baseline, the mean over catalogues, with a 95 % interval of independent samples."""
    all_of = list(found.values())
    users = [each["users"] for each in all_of]
    who_all = [who for who in _SHOWN if all(who in each["figures"] for each in all_of)]
    names = list(all_of[0]["figures"][MODEL])
    against = {
        who: {name: _difference([each["against"][who][name] for each in all_of]) for name in names}
        for who in all_of[0]["against"]
    }
    return {
        "catalogues": dict(found),
        "k": all_of[0]["k"],
        "users": sum(users),
        "mean": {who: {name: _mean(all_of, who, name, [1] * len(users)) for name in names} for who in who_all},
        "all_users": {who: {name: _mean(all_of, who, name, users) for name in names} for who in who_all},
        "against": against,
    }


def _mean(found: list[Mapping[str, Any]], who: str, metric: str, weights: list[int]) -> float:
    values = [each["figures"][who][metric] for each in found]
    return float(sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights))


def _difference(found: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of paired differences on different users: half the width of its interval is that of a mean."""
    mean = sum(each["difference"] for each in found) / len(found)
    half = sqrt(sum(((each["interval"][1] - each["interval"][0]) / 2) ** 2 for each in found)) / len(found)
    return {"difference": mean, "interval": [mean - half, mean + half]}


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The mean over catalogues, beside the best baseline; nothing where there is one catalogue."""
    if not (found := metrics.get("together")):
        return []
    metric = f"{HEADLINE[-1]}_at_{found['k']}"
    best = max(found["against"], key=lambda who: (found["mean"][who][metric], who))
    gain = found["against"][best][metric]
    of_each = ", ".join(
        f"{name} {number(each['figures'][MODEL][metric])}" for name, each in found["catalogues"].items()
    )
    low, high = gain["interval"]
    own, other = (number(found["mean"][who][metric]) for who in (MODEL, best))
    return [
        f"Over {len(found['catalogues'])} catalogues the model has {metric_label(metric)} {own} ({of_each}), "
        f"{CONTENDERS[best].label} {other} (difference {signed(gain['difference'])}, 95 % {signed(low)} to "
        f"{signed(high)})."
    ]


def table(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row a catalogue, then the means, as a table of the report; None where there is one catalogue."""
    if not (found := metrics.get("together")):
        return None
    metric, shown = f"{HEADLINE[-1]}_at_{found['k']}", [who for who in _SHOWN if who in found["mean"]]
    rows = [
        {
            "name": name,
            "kind": "",
            "cells": [
                Cell(whole(each["users"])),
                *(figure(each["figures"][who][metric], _interval(each, who, metric)) for who in shown),
            ],
        }
        for name, each in found["catalogues"].items()
    ]
    for name, means in (("mean of the catalogues", found["mean"]), ("all users", found["all_users"])):
        cells = [Cell(whole(found["users"])), *(figure(means[who][metric], None) for who in shown)]
        rows.append({"name": name, "kind": "", "cells": cells})
    caption = (
        f"{metric_label(metric)} of one model on each catalogue that taught it, over its own items alone, with 95 % "
        "intervals. The baselines are built for each catalogue."
    )
    return {"caption": caption, "columns": ["Users", *(_SHOWN[who] for who in shown)], "rows": rows}


def _interval(found: Mapping[str, Any], who: str, metric: str) -> Any:
    return found["intervals"].get(who, {}).get(metric)
