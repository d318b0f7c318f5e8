"""The one look at the test set: the model beside popularity and the item graph, masked and unmasked.

    metrics = evaluate(params.evaluate, seed=17, layout=layout, items=..., histories=..., valid=..., test=...,
                       words=dict(zip(table.item_ids, table.words)), recommend=engine_call)

Pure: no registry, no clock, no random name. The same inputs give the same bytes in every file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from components.errors import GateRefused
from components.evaluation import examples, plots, report
from components.evaluation.arrays import Cases, cases
from components.evaluation.baselines import BASELINES
from components.evaluation.figures import MODEL, by_slice, compare, figures, headline_k, rounded
from components.evaluation.metrics import ranks
from components.evaluation.metrics_file import VARIANTS, Variant
from components.settings.params import Evaluate
from components.storage.artifacts import publish_json, publishing_together
from components.storage.layout import Layout


class Recommended(Protocol):
    """One recommended item."""

    @property
    def item_id(self) -> str: ...


Recommend = Callable[[Sequence[Sequence[str]], int, bool], Sequence[Sequence[Recommended]]]
"""(histories of item ids, k, mask_seen) -> for each history at most k items, best first."""


def evaluate(
    settings: Evaluate,
    *,
    seed: int,
    layout: Layout,
    items: pl.DataFrame,
    histories: pl.DataFrame,
    valid: pl.DataFrame,
    test: pl.DataFrame,
    words: Mapping[str, str],
    recommend: Recommend,
    protocol: Literal["strict", "refit"] = "strict",
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Rank, count, compare; publish metrics.json, per_user.parquet, plots/ and report.html; return the metrics.

    items: item_id, title. histories: user_id, history. valid, test: user_id, context, target. words: item id -> textual
    ID. protocol: `refit` where the model was built once more with the validation items; the baselines then get
    them too, so that both sides always know the same. facts: whatever the report should say of data and model.
    Raises `BadInput` for tables that do not fit together, `GateRefused` for a recommender that breaks its contract.
    """
    asked = cases(items, histories, valid, test, refit=protocol == "refit", max_users=settings.max_users, seed=seed)
    depth = max(settings.ks)
    lists = {variant: _all_lists(asked, recommend, depth, mask_seen=variant == "masked") for variant in VARIANTS}
    places = {
        variant: {name: ranks(listed, asked.targets) for name, listed in lists[variant].items()} for variant in VARIANTS
    }
    headline: Variant = "unmasked" if settings.mask_seen is False else "masked"
    metrics: dict[str, Any] = {
        "protocol": {
            "training": protocol,
            "headline": headline,
            "headline_k": headline_k(settings.ks),
            "depth": depth,
            "scores": settings.scores,
            "beams": max(settings.beams, depth),
            "length_penalty": settings.length_penalty,
            "test_users": len(asked.user_ids),
            "all_test_users": len(test),
            "catalogue_items": len(asked.item_ids),
            "seed": seed,
        },
        "facts": dict(facts or {}),
        **{variant: figures(asked, settings.ks, lists[variant], places[variant]) for variant in VARIANTS},
        **compare(places[headline], settings.ks, seed),
        "slices": by_slice(asked, places[headline], headline_k(settings.ks)),
    }
    metrics = rounded(metrics)
    table = _per_user(asked, lists[headline][MODEL], places, headline)
    _publish(layout, metrics, table, items, words, seed)
    return metrics


def _all_lists(asked: Cases, recommend: Recommend, depth: int, *, mask_seen: bool) -> dict[str, np.ndarray]:
    lists = {MODEL: _checked(asked, recommend(asked.prompt_ids(), depth, mask_seen), depth, mask_seen=mask_seen)}
    return lists | {name: baseline(asked, depth=depth, mask_seen=mask_seen) for name, baseline in BASELINES.items()}


def _checked(asked: Cases, answers: Sequence[Sequence[Recommended]], depth: int, *, mask_seen: bool) -> np.ndarray:
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
                    where=f"user {asked.user_ids[row]!r}",
                    mend="the ID table and the model do not belong together, or decoding is broken: train again",
                )
        lists[row, : len(found)] = found
    return lists


def _per_user(
    asked: Cases, recommended: np.ndarray, places: Mapping[Variant, Mapping[str, np.ndarray]], headline: Variant
) -> pl.DataFrame:
    """One row a user, sorted by user id: `rank` is the model's in the headline variant, null: not in its list."""
    item_ids = np.array(asked.item_ids, dtype=object)

    def column(rank: np.ndarray) -> pl.Series:
        return pl.Series([int(each) or None for each in rank], dtype=pl.Int32)

    return pl.DataFrame(
        {
            "user_id": asked.user_ids,
            "target": item_ids[asked.targets].tolist(),
            "prompt": asked.prompt_ids(),
            "target_count": pl.Series(asked.counts[asked.targets], dtype=pl.Int32),
            "rank": column(places[headline][MODEL]),
            **{f"{name}_{variant}": column(rank) for variant in VARIANTS for name, rank in places[variant].items()},
            "recommended": [item_ids[row[row >= 0]].tolist() for row in recommended],
        },
        schema_overrides={"prompt": pl.List(pl.String), "recommended": pl.List(pl.String)},
    )


def _publish(
    layout: Layout,
    metrics: Mapping[str, Any],
    table: pl.DataFrame,
    items: pl.DataFrame,
    words: Mapping[str, str],
    seed: int,
) -> None:
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    outputs = (layout.per_user, layout.plots, layout.report, layout.metrics)
    with publishing_together(*outputs) as (users_to, plots_to, report_to, metrics_to):
        table.write_parquet(users_to, compression="zstd", statistics=False)
        plots_to.mkdir()
        pictures = plots.draw(metrics, plots_to)
        page = report.page(metrics, examples.pick(table, titles, words, seed=seed), pictures, dataset=layout.dataset)
        report_to.write_text(page, encoding="utf-8")
        publish_json(metrics_to, metrics)
