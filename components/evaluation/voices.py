"""The ranker and the voices that it hears, beside the model: what each finds, and what the ranker finds beyond each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.evaluation.cells import Cell, figure
from components.evaluation.contenders import HEADLINE, MODEL, VARIANTS, Variant, labels, metric_label
from components.evaluation.figures import verdict
from components.evaluation.metrics import bootstrap, ndcg, per_user
from components.pages.render import signed

HYBRID = "hybrid"
"""Name of the ranker among the voices."""
MIXTURE = "hybrid_and_generate"
"""Name of the mixture of ranker and language model (the mode `hybrid`) among the voices."""

_CALLED = {HYBRID: "ranker", MIXTURE: "ranker and language model", "generate": "language model"}


def beside(
    found: Mapping[Variant, Mapping[str, np.ndarray]], model: np.ndarray, headline: Variant, k: int, seed: int
) -> dict[str, Any]:
    """Recall and NDCG at `k` of ranks [users] in both variants; in the headline variant the NDCG of the ranker minus
    that of each of the others, the `model` among them, with its paired 95 % interval."""
    figures: dict[str, Any] = {
        variant: {name: _means(rank, k) for name, rank in found[variant].items()} for variant in VARIANTS
    }
    best = ndcg(found[headline][HYBRID], k)
    others = {MODEL: model, **{name: rank for name, rank in found[headline].items() if name != HYBRID}}
    gains = {name: best - ndcg(rank, k) for name, rank in others.items()}
    intervals = bootstrap(gains, seed=seed)
    over = {
        name: {
            "difference": float(gain.mean()),
            "interval": list(intervals[name]),
            "verdict": verdict(len(gain), *intervals[name]),
        }
        for name, gain in gains.items()
    }
    return {**figures, "hybrid_over": over}


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Who answers as the model, and what those alone have who do not; nothing where there is no ranker."""
    if "voices" not in metrics:
        return []
    headline, k, found = metrics["protocol"]["headline"], metrics["protocol"]["headline_k"], metrics["voices"]
    alone = {HYBRID: found[headline][HYBRID], "generate": found[headline].get("generate", metrics[headline][MODEL])}
    ranker, language_model = (
        ", ".join(f"{metric_label(f'{metric}_at_{k}')} {figure(each[f'{metric}_at_{k}']).text}" for metric in HEADLINE)
        for each in alone.values()
    )
    said = {
        "generate": "the language model alone (mode generate); the ranker over voices, which does without it, has "
        f"{ranker}",
        "rank": f"the ranker over voices (mode rank), without the language model, which alone has {language_model}",
        "hybrid": f"ranker and language model together (mode hybrid); the ranker alone has {ranker}, the language "
        f"model {language_model}",
    }
    return [f"What answers as the model: {said[found['mode']]}."]


def columns(metrics: Mapping[str, Any]) -> list[str]:
    """The heads of the cells of `rows`."""
    k = metrics["protocol"]["headline_k"]
    return [
        *(metric_label(f"{metric}_at_{k}") for metric in HEADLINE),
        f"Ranker beyond it, {metric_label(f'ndcg_at_{k}')}",
    ]


def rows(metrics: Mapping[str, Any]) -> list[tuple[str, list[Cell]]]:
    """A row a voice, the best first: its figures in the headline variant, and what the ranker has beyond it."""
    headline, k = metrics["protocol"]["headline"], metrics["protocol"]["headline_k"]
    found = {MODEL: metrics[headline][MODEL], **metrics["voices"][headline]}
    over = metrics["voices"]["hybrid_over"]
    names = sorted(found, key=lambda name: (-found[name][f"ndcg_at_{k}"], name))
    return [
        (
            called(name),
            [
                *(figure(found[name][f"{metric}_at_{k}"]) for metric in HEADLINE),
                _beyond(over[name]) if name in over else Cell(""),
            ],
        )
        for name in names
    ]


def called(name: str) -> str:
    """A voice as a page calls it."""
    return (labels() | _CALLED).get(name, name.replace("_", " "))


def _beyond(gain: Mapping[str, Any]) -> Cell:
    low, high = gain["interval"]
    return Cell(signed(gain["difference"]), f"{signed(low)} to {signed(high)}")


def _means(rank: np.ndarray, k: int) -> dict[str, float]:
    return {name: float(each.mean()) for name, each in per_user(rank, [k]).items() if not name.startswith("mrr")}
