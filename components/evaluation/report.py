"""What report.html says: the answer, three tiles, paired differences around zero, figures, users, trust; no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from components.evaluation import repeats, summary, together, trust_box, voice_page
from components.evaluation.cells import Cell, figure
from components.evaluation.comparison.compare import LEAST_IN_SLICE
from components.evaluation.comparison.first_screen import KIND, Line, where
from components.evaluation.comparison.forest import Row, forest
from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, RANKING, labels, metric_label
from components.evaluation.examples import Example
from components.evaluation.metrics import LEAST_USERS
from components.evaluation.voices import columns as voice_columns
from components.evaluation.voices import rows as voice_rows
from components.evaluation.voices import sentences as who_answers
from components.pages.render import render, signed, whole

_SHOWN = 8
"""Items of a history; how many come before them is said."""
_SAYS = {"better": "Yes", "worse": "No, it is worse", "no clear difference": "Not clear"}


class _Difference(NamedTuple):
    users: int
    difference: float
    low: float
    high: float


def page(
    metrics: Mapping[str, Any], examples: Sequence[Example], *, dataset: str, voices: Mapping[str, Any] | None = None
) -> str:
    """The whole page. The baseline that the worst news is about is the one that the slices are drawn against. voices:
    what voices.json holds."""
    claims, protocol = summary.claims(metrics), metrics["protocol"]
    against = claims[0].name
    deciding = f"ndcg_at_{protocol['headline_k']}"
    asked, everybody = whole(protocol["test_users"]), whole(protocol["all_test_users"])
    users = f"{asked} test users" if asked == everybody else f"{asked} of {everybody} test users, chosen by a hash"
    return render(
        "report.html.jinja",
        title=f"Idiom on {dataset}",
        eyebrow=f"{dataset}: the model on {users}, {whole(protocol['catalogue_items'])} items; "
        f"{protocol['training']}, {protocol['headline']}",
        answer={
            "sentence": f"{_calm(claims[0].sentence)}.",
            "figures": f"{claims[0].figures}.",
            "kind": KIND.get(claims[0].verdict, "level"),
        },
        tiles=[_better(claims, who_answers(metrics)), _where(metrics, against, deciding), _trusted(metrics)],
        forest=forest(_slice_rows(metrics, against, deciding), total=True) | {"caption": _caption(against, deciding)},
        others=_others(metrics, deciding),
        figures=_figures(metrics),
        catalogues=together.table(metrics),
        voices=_voices(metrics),
        adds=voice_page.adds(voices or {}),
        found_by=voice_page.found_by(voices or {}),
        of_voices=voice_page.tables(voices or {}),
        tables=_tables(metrics),
        repeats=repeats.sentences(metrics),
        slices=_slices(metrics, deciding),
        ties={"sentence": summary.ties(metrics), "table": _table("", summary.ties_rows(metrics))},
        examples=[_shown(example) for example in examples],
        trust={
            "says": trust_box.verdict(metrics),
            "doubts": trust_box.doubts(metrics),
            "facts": trust_box.facts(metrics),
            "warnings": [
                {"stage": stage, "text": text} for stage, text in metrics.get("trust", {}).get("warnings", [])
            ],
            "removed": trust_box.removed(metrics),
            "provenance": [*trust_box.provenance(metrics), *_training(metrics)],
        },
        reading=_READING,
    )


def _calm(sentence: str) -> str:
    """Large letters shout enough."""
    return sentence.replace("LOSES", "loses")


def _better(claims: Sequence[summary.Claim], who: Sequence[str]) -> dict[str, Any]:
    lines = [*who]
    lines += [f"{_calm(claim.sentence)}: {claim.figures}." for claim in claims[1:]]
    lines.append(
        "Said only where the 95 % interval of the paired difference leaves out zero; of two metrics the worse decides."
    )
    return {"asks": "Better?", "says": _SAYS.get(claims[0].verdict, "Too few users"), "lines": lines}


def _where(metrics: Mapping[str, Any], against: str, deciding: str) -> dict[str, Any]:
    lines = [
        Line(f"{slicing}: {name}", found["difference"], group["users"], found["verdict"])
        for slicing, groups in metrics["slices"].items()
        for name, group in groups.items()
        for found in [group["against"][against][deciding]]
    ]
    return where(sorted(lines, key=lambda line: -line.difference))


def _trusted(metrics: Mapping[str, Any]) -> dict[str, Any]:
    lines = [*trust_box.doubts(metrics), *trust_box.facts(metrics)]
    return {"asks": "Can this be trusted?", "says": trust_box.verdict(metrics), "lines": lines, "more": "#trust"}


def _slice_rows(metrics: Mapping[str, Any], against: str, deciding: str) -> list[Row]:
    """All users, then the slices in the order of their effect."""
    rows = []
    for slicing, groups in metrics["slices"].items():
        for name, group in groups.items():
            found = group["against"][against][deciding]
            judged = found["p_holm"] is not None
            note = "" if judged else f"under {LEAST_IN_SLICE} users: not judged"
            kind = KIND.get(found["verdict"], "") if judged else "few"
            rows.append(Row(f"{slicing}: {name}", note, kind, _difference(group["users"], found)))
    rows.sort(key=lambda row: -row.found.difference)
    return [_overall(metrics, against, deciding, "All users"), *rows]


def _overall(metrics: Mapping[str, Any], against: str, metric: str, label: str) -> Row:
    found = metrics["against"][against][metric]
    return Row(label, "", KIND.get(found["verdict"], ""), _difference(metrics["protocol"]["test_users"], found))


def _difference(users: int, found: Mapping[str, Any]) -> _Difference:
    return _Difference(users, found["difference"], *found["interval"])


def _caption(against: str, deciding: str) -> str:
    label = CONTENDERS[against].label
    return (
        f"Difference in {metric_label(deciding)}, the model minus {label}, of the same users: right of the dotted line "
        "the model is better. Whiskers are 95 % intervals; green and red where the difference stays clear after "
        "correction for the number of slices."
    )


def _others(metrics: Mapping[str, Any], deciding: str) -> dict[str, Any] | None:
    """All baselines beside one another, where there are several."""
    if len(metrics["against"]) < 2:
        return None
    names = [name for name in CONTENDERS if name in metrics["against"]]
    rows = [_overall(metrics, name, deciding, f"minus {CONTENDERS[name].label}") for name in names]
    caption = f"Difference in {metric_label(deciding)}, the model minus each baseline, all users, 95 % intervals."
    return forest(rows, total=False) | {"caption": caption}


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everybody in the metrics that decide, and the differences."""
    protocol = metrics["protocol"]
    names = [f"{name}_at_{protocol['headline_k']}" for name in HEADLINE]
    own = metrics[protocol["headline"]]
    rows = [
        {
            "name": contender.label,
            "kind": "side-1" if who == MODEL else "grey",
            "cells": [figure(own[who][metric], metrics["intervals"][who][metric]) for metric in names],
        }
        for who, contender in CONTENDERS.items()
    ]
    for who in CONTENDERS:
        if (found := metrics["against"].get(who)) is None:
            continue
        cells = [
            Cell(signed(each["difference"]), f"{signed(each['interval'][0])} to {signed(each['interval'][1])}")
            for each in (found[metric] for metric in names)
        ]
        rows.append({"name": f"{CONTENDERS[MODEL].label} minus {CONTENDERS[who].label}", "kind": "", "cells": cells})
    caption = f"Means over the same users with 95 % intervals; lists are {protocol['headline']}."
    return {"caption": caption, "columns": [metric_label(metric) for metric in names], "rows": rows}


def _tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every other figure: other lengths of the list, both variants, what the lists consist of, repeats."""
    tables = {
        "Every length of the list, both variants": summary.rows(metrics),
        "What the lists consist of": summary.breadth_rows(metrics),
        "Bought again, and new": repeats.rows(metrics),
    }
    return [_table(caption, rows) for caption, rows in tables.items() if rows]


def _voices(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The voices and the ranker that hears them, where there are any."""
    if "voices" not in metrics:
        return None
    rows = [{"name": name, "kind": "", "cells": cells} for name, cells in voice_rows(metrics)]
    caption = (
        "Each voice alone, and the ranker over all of them; the last column is the ranker minus the voice, of the same "
        "users, with 95 % intervals."
    )
    caption = " ".join([*who_answers(metrics), caption])
    return {"caption": caption, "columns": voice_columns(metrics), "rows": rows}


def _table(caption: str, rows: Sequence[tuple[str, Mapping[str, Cell]]]) -> dict[str, Any]:
    return {
        "caption": caption,
        "columns": list(labels().values()),
        "rows": [{"name": name, "kind": "", "cells": [cells[who] for who in CONTENDERS]} for name, cells in rows],
    }


def _slices(metrics: Mapping[str, Any], deciding: str) -> list[dict[str, Any]]:
    tables = []
    for slicing, groups in metrics["slices"].items():
        rows = [
            {
                "name": name,
                "kind": "",
                "cells": [
                    Cell(whole(group["users"])),
                    *(figure(group[who][deciding], group["intervals"][who][deciding]) for who in CONTENDERS),
                ],
            }
            for name, group in groups.items()
        ]
        caption = f"{slicing[:1].upper()}{slicing[1:]}: {metric_label(deciding)} with 95 % intervals"
        tables.append({"caption": caption, "columns": ["Users", *labels().values()], "rows": rows})
    return tables


def _shown(example: Example) -> dict[str, Any]:
    return {
        "user_id": example.user_id,
        "why": example.why,
        "earlier": max(0, len(example.history) - _SHOWN),
        "history": example.history[-_SHOWN:],
        "recommended": example.recommended,
        "target": example.target,
        "rank": example.rank,
    }


def _training(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the model, in one row."""
    known = ", ".join(f"{name} {value}" for name, value in metrics["facts"].items())
    return [("Training", known)] if known else []


_READING = (
    "Every user's list is ranked against the whole catalogue, and one item is right: what the user took next. Recall "
    f"is the share of users whose item is in the list; {RANKING['ndcg']} gives more for a higher place, "
    f"{RANKING['mrr']} is the mean of one over the place.",
    "Masked: items that the user has already are left out of the lists; unmasked: they may come back. Strict: model "
    "and baselines learned from the training histories alone, and a validation item is only part of the test prompt; "
    "refit: both were built once more with the validation items. Figures of different protocols must not be compared.",
    "Intervals: 95 %, percentile bootstrap over users; differences are taken user by user. The model is called better "
    f"or worse only where the interval leaves out zero, and never with fewer than {LEAST_USERS} test users, of which "
    "an interval is too narrow. Slices are several looks at the same users: their p-values are corrected together "
    f"(Holm), and those of under {LEAST_IN_SLICE} users are not judged.",
    "Where times are days, the order within a day is that of the file, which often is that of the product codes, or "
    "drawn, or unknown; a model that learns the direction of codes is paid for it only in the first case. Baselines "
    "are built anew for the other order; the model is not trained again, and is judged where no target of the other "
    "order was in its training.",
    "The item graph counts which items follow each other in histories; it takes seconds and no training, and published "
    "deep models often do not beat it.",
)
