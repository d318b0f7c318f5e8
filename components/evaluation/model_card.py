"""What a model card says of an evaluated model: data, split, figures with intervals, slices, limits, examples of IDs.

    card = model_card(layout, params)        # values of components/pages/model_card.md.jinja, but for its provenance

What is known to `register` alone (name, version, commit, cost) is added there (components/registry/model_card.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from components.evaluation import repeats, summary, trust_box
from components.evaluation.adaptation import read, sentences
from components.evaluation.contenders import CONTENDERS, HEADLINE, MODEL, TIES, labels, metric_label
from components.evaluation.metrics_file import read_metrics
from components.pages.render import number, signed, whole
from components.sampling import hash_sample
from components.settings.params import Params
from components.storage import parquet
from components.storage.artifacts import read_json
from components.storage.layout import Layout

_EXAMPLES = 8
_SPLITS = {
    "leave-one-out": "leave-one-out: the last item of each user is the test target, the one before it validation",
    "global-time": "by time: what happens from a day on is validation, from a later day on test",
}


def model_card(layout: Layout, params: Params) -> dict[str, Any]:
    """The values, from the artifacts that lie here. Raises `BadInput` for metrics that `evaluate` did not write."""
    metrics = read_metrics(layout.metrics)
    protocol, found = metrics["protocol"], metrics["trust"]
    own, deciding = metrics[protocol["headline"]][MODEL], [f"{name}_at_{protocol['headline_k']}" for name in HEADLINE]
    against = summary.claims(metrics)[0].name
    return {
        "dataset": layout.dataset,
        "metrics": [{"metric": name, "name": metric_label(name), "value": own[name]} for name in deciding],
        "sentences": summary.sentences(metrics),
        "items": protocol["catalogue_items"],
        "data": _data(metrics, params),
        "removed": _removed(metrics),
        "protocol": f"Full-catalogue ranking, no sampled negatives; {protocol['training']}, seen items "
        f"{protocol['headline']}; 95 % intervals: bootstrap over {whole(protocol['test_users'])} test users.",
        "figures": _figures(metrics),
        "k": protocol["headline_k"],
        "against": CONTENDERS[against].phrase.partition(",")[0],
        "slices": _slices(metrics, against, deciding[-1]),
        "limits": _limits(metrics, params, against, deciding[-1]),
        "trust": {
            "says": trust_box.verdict(metrics),
            "lines": [*trust_box.doubts(metrics), *trust_box.facts(metrics)] if found else [],
        },
        **_ids(layout, params),
        "facts": [("Made by", _made_by(metrics, params)), *_adapted(layout), *trust_box.provenance(metrics)],
    }


def adaptation(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an adaptation was worth, as a name and a sentence: of adapted.json."""
    of = {"Language model alone": report["language_model"]}
    of |= {f"Forgotten of {name}, on its validation targets": each for name, each in report["forgotten"].items()}
    return [
        (
            name,
            f"NDCG@10 {each['start']:.4f} before, {each['adapted']:.4f} after: {each['difference']:+.4f} "
            f"(95 % {each['difference_low']:+.4f} to {each['difference_high']:+.4f}) of {each['users']:,} users",
        )
        for name, each in of.items()
    ]


def _adapted(layout: Layout) -> list[tuple[str, str]]:
    found = adaptation(read_json(layout.adapted)) if layout.adapted.is_file() else []
    curve = read(layout.curve, layout.metrics)
    return [*found, *([("Adaptation curve", " ".join(sentences(curve)))] if curve else [])]


def _made_by(metrics: Mapping[str, Any], params: Params) -> str:
    train = params.train
    size = f", {train.size}" if train.backbone == "scratch" else ""
    rounds = "1 round" if train.rounds == 1 else f"{train.rounds} rounds"
    language_model = f"{train.family} language model ({train.backbone}{size}), {rounds} of alternation"
    mode = metrics.get("voices", {}).get("mode", "generate")
    ranker = f"; ranker over {', '.join(params.rank.voices)}" if "voices" in metrics else ""
    return f"{language_model}{ranker}; answers in mode {mode}"


def _data(metrics: Mapping[str, Any], params: Params) -> list[str]:
    first, last = metrics["trust"].get("times") or (None, None)
    sample = params.clean.sample_users
    core = f"{params.clean.min_user_interactions} interactions a user, {params.clean.min_item_interactions} an item"
    return [
        f"Interactions from {str(first)[:10]} to {str(last)[:10]}." if first else "The data have no times.",
        f"Split {_SPLITS[params.clean.split]}.",
        f"Order of ties: {TIES[metrics['protocol']['ties']]} (clean.ties: {metrics['protocol']['ties']}).",
        f"At least {core} ({params.clean.core}).",
        f"Texts of items: {', '.join(params.clean.text_fields)}.",
        *([f"A sample of {whole(sample)} users, drawn by a hash."] if sample else []),
        summary.ties(metrics),
    ]


def _removed(metrics: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        (what, reason, f"{count:,}") for what, counts in trust_box.removed(metrics) for reason, count in counts if count
    ]
    return {"columns": ["Rows", "", "Number"], "rows": rows}


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    rows = [*summary.rows(metrics), *summary.breadth_rows(metrics), *repeats.rows(metrics)]
    return {
        "columns": ["With 95 % intervals", *labels().values()],
        "rows": [(name, *(str(cells[who]) for who in CONTENDERS)) for name, cells in rows],
    }


def _slices(metrics: Mapping[str, Any], against: str, metric: str) -> dict[str, Any]:
    rows = []
    for slicing, name, each in _each_slice(metrics):
        low, high = each["intervals"][MODEL][metric]
        gain = each["against"][against][metric]
        rows.append(
            (
                f"{slicing}: {name}",
                whole(each["users"]),
                f"{number(each[MODEL][metric])} ({number(low)} to {number(high)})",
                f"{signed(gain['difference'])} ({signed(gain['interval'][0])} to {signed(gain['interval'][1])})",
                gain["verdict"],
            )
        )
    return {"columns": ["Slice", "Users", metric_label(metric), "Difference", "Verdict"], "rows": rows}


def _limits(metrics: Mapping[str, Any], params: Params, against: str, metric: str) -> list[str]:
    worse = [
        f"{slicing}: {name}"
        for slicing, name, each in _each_slice(metrics)
        if each["against"][against][metric]["verdict"] == "worse"
    ]
    phrase = CONTENDERS[against].phrase.partition(",")[0]
    beaten = [claim for claim in summary.claims(metrics) if claim.verdict != "better"]
    return [
        *(f"{claim.sentence}." for claim in beaten),
        *([f"Clearly worse than {phrase} for {'; '.join(worse)}."] if worse else []),
        "A target is what somebody took next, not what they would have liked: what was never shown counts as wrong.",
        "Items that it does not know are skipped in histories; a history without a known item gets no list.",
        "Nothing after the last day of its data is known to it; items that came later have no ID until `index` ran.",
        "An ID names an item, it does not describe it: read the title before you act on one."
        if params.index.faithful
        else "IDs may hold words that their item's text does not say (index.faithful: false).",
        "The figures are of one catalogue and one seed; another shop has to measure its own.",
    ]


def _each_slice(metrics: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (slicing, name, each) for slicing, of_slicing in metrics["slices"].items() for name, each in of_slicing.items()
    ]


def _ids(layout: Layout, params: Params) -> dict[str, Any]:
    """`ids`: quality of the IDs in a sentence; `examples`: some of them beside their titles, drawn by a hash."""
    report = read_json(layout.index_report) if layout.index_report.is_file() else {}
    names = pl.DataFrame(parquet.read(layout.id_table, ["item_id", "words"])).join(
        pl.DataFrame(parquet.read(layout.items_clean, ["item_id", "title"])), on="item_id", how="left"
    )
    chosen = sorted(hash_sample(names["item_id"].to_list(), _EXAMPLES, f"model card:{params.seed}:"))
    rows: Sequence[tuple[str, ...]] = [
        (row["words"], row["title"] or "", row["item_id"]) for row in names[chosen].iter_rows(named=True)
    ]
    said = (
        f"{report['own_word_share']:.1%} of their words stand in their item's text; {report['mean_tokens']:.1f} tokens "
        f"on average; {report['distinguished']:.1%} of {whole(report['near_twins'])} items with a near twin are told "
        "apart from it."
        if "own_word_share" in report
        else "Their quality was not measured: they were given by a rule or a file."
    )
    return {"ids": said, "examples": {"columns": ["ID", "Title", "Item"], "rows": rows}}
