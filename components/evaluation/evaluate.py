"""Evaluates the model and its baselines on the test set, masked and unmasked.

    asked = cases(items, histories, valid, test, refit=False, max_users=0, seed=17)
    metrics = evaluate(params.evaluate, asked, {"model": engine, "popularity": ..., "item_graph": ...}, catalogue,
                       seed=17, layout=layout)

Pure: no registry, no clock, no random name. The same inputs give the same bytes in every file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from components.errors import GateRefused
from components.evaluation import examples, plots, report
from components.evaluation.arrays import Cases
from components.evaluation.contenders import MODEL, VARIANTS, Variant
from components.evaluation.figures import breadth_intervals, by_slice, compare, figures, headline_k, rounded
from components.evaluation.headline import headline_figures
from components.evaluation.metrics import ranks
from components.evaluation.other_ties import OtherTies, compare_orders
from components.evaluation.repeats import repeats
from components.evaluation.slices import slices
from components.evaluation.together import brief, together
from components.evaluation.voice_figures import Apart, in_detail
from components.evaluation.voices import HYBRID, MIXTURE, beside
from components.progress import Progress
from components.settings.params import Evaluate, Ties
from components.storage.artifacts import publish_json, publishing_together
from components.storage.layout import Layout

if TYPE_CHECKING:
    from components.recommender.catalogue import Catalogue
    from components.recommender.interface import Recommendation, Recommender


def evaluate(
    settings: Evaluate,
    asked: Cases,
    recommenders: Mapping[str, Recommender],
    catalogue: Catalogue,
    *,
    seed: int,
    layout: Layout,
    facts: Mapping[str, Any] | None = None,
    trust: Mapping[str, Any] | None = None,
    ties: Ties = "file",
    other: OtherTies | None = None,
    voices: Mapping[str, Recommender] | None = None,
    mode: str = "generate",
    apart: Apart | None = None,
    catalogues: Mapping[str, Mapping[str, Any]] | None = None,
    refit: Mapping[str, Recommender] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Rank, count, compare; publish metrics.json, voices.json, headline.json, per_user.parquet, plots/, report.html.

    Returns the metrics.

    recommenders: the model and its baselines by their names in `contenders`, in the order of the columns of
    per_user.parquet; baselines have learned from `asked.train` alone. catalogue: names the items of the examples.
    facts: whatever the report should say of data and model. trust: what decides whether it can be trusted, as
    `trust.gather` gives it. ties: the order of ties that `asked` has; other: the same under another one, to be shown
    beside the headline. voices: what the ranker hears; `voices.HYBRID`, itself; "generate", the language model, and
    `voices.MIXTURE` of both. mode: who of them answers as the model. apart: the ranker without single voices.
    catalogues: what `together.brief` says of further catalogues of the same model, by name.
    refit: the voices and the ranker over them as they are with the validation items too, where `voices` lack these.
    Raises `GateRefused` for a recommender that breaks its contract.
    """
    depth = max(settings.ks)
    lists = {
        variant: {
            name: _lists(asked, name, recommender, replace(settings, mask_seen=variant == "masked"), depth, progress)
            for name, recommender in recommenders.items()
        }
        for variant in VARIANTS
    }
    places = {
        variant: {name: ranks(listed, asked.targets, asked.also) for name, listed in lists[variant].items()}
        for variant in VARIANTS
    }
    headline: Variant = "masked" if catalogue.masks(settings) else "unmasked"

    def ask(cases: Cases, name: str, recommender: Recommender) -> np.ndarray:
        return _lists(cases, name, recommender, replace(settings, mask_seen=headline == "masked"), depth, progress)

    metrics: dict[str, Any] = {
        "protocol": {
            "training": "refit" if asked.refit else "strict",
            "headline": headline,
            "headline_k": headline_k(settings.ks),
            "ties": ties,
            "depth": depth,
            "scores": settings.scores,
            "beams": settings.beams,
            "length_penalty": settings.length_penalty,
            "test_users": len(asked.user_ids),
            "all_test_users": asked.all_users,
            "catalogue_items": len(asked.item_ids),
            "seed": seed,
        },
        "facts": dict(facts or {}),
        "trust": dict(trust or {}),
        **{variant: figures(asked, settings.ks, lists[variant], places[variant]) for variant in VARIANTS},
        **compare(places[headline], settings.ks, seed),
        "breadth_intervals": breadth_intervals(asked, settings.ks, lists[headline]),
        "slices": by_slice(asked, places[headline], headline_k(settings.ks), seed),
        "ties": compare_orders(ties, asked, lists[headline], other, ask, headline_k(settings.ks)),
    }
    if again := repeats(asked, headline_k(settings.ks), lists, places, headline, seed):
        metrics["repeats"] = again
    details: dict[str, Any] = {}
    if voices:
        same = HYBRID if mode == "rank" else MIXTURE if mode == "hybrid" else "generate"  # is the model, and was asked
        theirs = {
            variant: {
                name: lists[variant][MODEL]
                if name == same
                else _voice_lists(asked, name, voice, settings, variant, depth)
                for name, voice in voices.items()
            }
            for variant in VARIANTS
        }
        found = {
            variant: {name: ranks(listed, asked.targets, asked.also) for name, listed in each.items()}
            for variant, each in theirs.items()
        }
        metrics["voices"] = beside(found, places[headline][MODEL], headline, headline_k(settings.ks), seed)
        metrics["voices"]["mode"] = mode
        details = in_detail(asked, theirs[headline], found, metrics["protocol"], apart, other, ask, seed, refit)
        metrics["voices"]["adds"] = details.get("adds", {})
    if catalogues:
        metrics["together"] = together({layout.dataset: brief(metrics), **catalogues})
    metrics, details = rounded(metrics), rounded(details)
    table = _per_user(asked, lists[headline], places, headline)
    _publish(layout, metrics, details, table, catalogue, seed)
    return metrics


def _lists(
    asked: Cases, name: str, recommender: Recommender, settings: Evaluate, depth: int, progress: Progress | None
) -> np.ndarray:
    """[users, depth] positions of what a recommender answers, padded with -1."""
    told = progress if name == MODEL else None  # the baselines are done at once
    answers = recommender.recommend(asked.prompt_ids(), depth, settings, told, asked.prompt_times())
    return _checked(asked, name, answers, depth, mask_seen=bool(settings.mask_seen))


def _voice_lists(
    asked: Cases, name: str, voice: Recommender, settings: Evaluate, variant: Variant, depth: int
) -> np.ndarray:
    return _lists(asked, name, voice, replace(settings, mask_seen=variant == "masked", mode=None), depth, None)


def _checked(
    asked: Cases, name: str, answers: Sequence[Sequence[Recommendation]], depth: int, *, mask_seen: bool
) -> np.ndarray:
    """[users, depth] positions of what was recommended. A list that no honest decoder can give is refused."""
    place = {item_id: position for position, item_id in enumerate(asked.item_ids)}
    lists = np.full((len(asked.user_ids), depth), -1, dtype=np.int64)
    for row, (answer, prompt) in enumerate(zip(answers, asked.prompts, strict=True)):
        found = [place.get(recommended.item_id, -1) for recommended in answer]
        wrong = (
            ("more items than asked for", len(found) > depth),
            ("an item that is not in the catalogue", -1 in found),
            ("an item twice", len(set(found)) < len(found)),
            ("an item that the user has already", mask_seen and not set(found).isdisjoint(prompt.tolist())),
        )
        for what, is_so in wrong:
            if is_so:
                raise GateRefused(
                    f"the recommender gave {what}",
                    where=f"{name}, user {asked.user_ids[row]!r}",
                    mend="the ID table and the model do not belong together, or decoding is broken: train again",
                )
        lists[row, : len(found)] = found
    return lists


def _per_user(
    asked: Cases,
    recommended: Mapping[str, np.ndarray],
    places: Mapping[Variant, Mapping[str, np.ndarray]],
    headline: Variant,
) -> pl.DataFrame:
    """One row a user, sorted by user id: `rank` and `recommended` are the model's in the headline variant, a rank of
    null means not in its list; `slice/SLICING` names the slice of each user. `times`: seconds since 1970 of the items
    of the prompt, null where they are not all known.

    `also`, where a target is a set (`clean.ties: set`): the other items that are right; a rank is of the best one.
    """
    item_ids = np.array(asked.item_ids, dtype=object)

    def column(rank: np.ndarray) -> pl.Series:
        return pl.Series([int(each) or None for each in rank], dtype=pl.Int32)

    sets = {"also": [item_ids[row].tolist() for row in asked.also]} if asked.also is not None else {}
    named = {
        "recommended" if name == MODEL else f"recommended_{name}": [item_ids[row[row >= 0]].tolist() for row in rows]
        for name, rows in recommended.items()
    }
    return pl.DataFrame(
        {
            "user_id": asked.user_ids,
            "target": item_ids[asked.targets].tolist(),
            "prompt": asked.prompt_ids(),
            "times": asked.prompt_times(),
            "target_count": pl.Series(asked.counts[asked.targets], dtype=pl.Int32),
            "rank": column(places[headline][MODEL]),
            **{f"{name}_{variant}": column(rank) for variant in VARIANTS for name, rank in places[variant].items()},
            **named,
            **sets,
            **{f"slice/{slicing}": _names(masks) for slicing, masks in slices(asked).items()},
        },
        schema_overrides={
            "prompt": pl.List(pl.String),
            "times": pl.List(pl.Float64),
            **dict.fromkeys((*named, *sets), pl.List(pl.String)),
        },
    )


def _names(masks: Mapping[str, np.ndarray]) -> pl.Series:
    """[users] the name of the slice that each is in; null for those in none."""
    names: np.ndarray = np.full(len(next(iter(masks.values()))), None, dtype=object)
    for name, mask in masks.items():
        names[mask] = name
    return pl.Series(names.tolist(), dtype=pl.String)


def _publish(
    layout: Layout,
    metrics: Mapping[str, Any],
    voices: Mapping[str, Any],
    table: pl.DataFrame,
    catalogue: Catalogue,
    seed: int,
) -> None:
    outputs = (layout.per_user, layout.plots, layout.report, layout.headline, layout.voices, layout.metrics)
    with publishing_together(*outputs) as (users_to, plots_to, report_to, headline_to, voices_to, metrics_to):
        table.write_parquet(users_to, compression="zstd", statistics=False)
        plots_to.mkdir()
        plots.draw(metrics, plots_to)
        shown = examples.pick(table, catalogue.titles, catalogue.words, seed=seed)
        page = report.page(metrics, shown, dataset=layout.dataset, voices=voices)
        report_to.write_text(page, encoding="utf-8")
        publish_json(headline_to, headline_figures(metrics))
        publish_json(voices_to, voices)
        publish_json(metrics_to, metrics)
