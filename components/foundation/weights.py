"""Weights of voices' raw scores for each tier, chosen on source catalogues and committed beside this file.

    preset()["stream"]                                         # {"graph": 1.0, "text_words": 0.3, ...}
    idiom foundation SOURCE ... --weights components/foundation/weights.json     # what wrote them

Coordinate search over a grid: one voice has weight 1, the others start without any; the mean over sources of NDCG@10
on validation targets, each as a share of what the first voice reaches there, decides. A weight stays where it gains at
least `_GAIN`, so that what hardly matters is not in the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from components.errors import BadInput
from components.foundation.catalogue import Readers
from components.foundation.tiers import TIERS, Tier
from components.ranking.fusion import fused
from components.ranking.lists import Held
from components.ranking.training import gains
from components.settings.ranking import Fusion
from components.storage.artifacts import read_json
from components.storage.vectors import Edges, Vectors
from components.voices.learned import Learned
from components.voices.lists import Scores, places
from components.voices.load import VIEW

PRESET = Path(__file__).with_name("weights.json")
Kind = Literal["language", "instruct"]
TAUGHT: Kind = "language"
"""In the preset: a language model that a shop taught to recommend."""
INSTRUCTED: Kind = "instruct"
"""A pretrained one that nobody did."""
GRID = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
RELATED, ALIKE = 0.3, 0.1
"""Weights of the voices of a shop's views: relations and labels; pictures, sounds and numbers. No source has any: they
were chosen on two other sets (docs/log.md)."""
_GAIN = 0.002
_ROUNDS = 3
_FIRST: dict[Tier, str] = {"text_only": "text_words", "statistics": "text_words", "stream": "graph"}
_FURTHER: dict[Tier, tuple[str, ...]] = {
    "text_only": ("text", "text_last"),
    "statistics": ("text", "text_last", "popularity", "recent"),
    "stream": (
        "text_words",
        "text",
        "graph_even",
        "graph_twice",
        "graph_then_text",
        "text_then_graph",
        "popularity",
        "recent",
    ),
}


@dataclass(frozen=True)
class Source:
    """Scores of all voices for some users of a source, and what each took next."""

    scores: Mapping[str, Scores]
    held: Held


def preset(path: Path = PRESET) -> dict[Tier, dict[str, float]]:
    """Tier -> voice -> weight. Raises `BadInput` for a file that holds none."""
    found = read_json(path)
    weights = found.get("weights") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or set(weights) != {*TIERS}:
        raise BadInput("it holds no weights for the tiers", where=str(path), mend="restore it from the repository")
    return {tier: dict(weights[tier]) for tier in TIERS}


def with_views(weights: Mapping[str, float], views: Mapping[str, Vectors]) -> dict[str, float]:
    """The weights of a tier and, for each view of a shop, that of its voice."""
    own = {f"{VIEW}:{name}": RELATED if isinstance(view, Edges) else ALIKE for name, view in views.items()}
    return {**weights, **own}


def language_weight(kind: Kind, path: Path = PRESET) -> float:
    """What a nat of a language model's gain counts (`language.WithLanguage`), in each tier; 0 where none was chosen."""
    return float(read_json(path).get(kind, {}).get("weight", 0.0))


def source_of(readers: Readers, learned: Learned, held: Held, *, most: int) -> Source:
    """The scores of at most `most` users, their own items left out; `learned` knows none of their targets."""
    some = held.some(most, learned.seed)
    found = {}
    for name, voice in readers.readers["stream"].voices.items():
        scores = np.concatenate([part for _, part in voice.blocks(some.histories, some.days)])
        scores[some.histories.owners, some.histories.values] = 0.0
        found[name] = scores
    return Source(found, some)


def choose(sources: Sequence[Source], tier: Tier) -> dict[str, float]:
    """Voice -> weight, of those that have one."""
    weights = {_FIRST[tier]: 1.0}
    alone = [_ndcg(each, _sum(each, weights)) for each in sources]

    def values(name: str) -> dict[float, float]:
        """Weight of a voice beside the others -> mean share of what the first voice reaches alone."""
        others = {each: weight for each, weight in weights.items() if each != name}
        found = np.zeros(len(GRID))
        for each, base in zip(sources, alone, strict=True):
            rest, part = _sum(each, others), _sum(each, {name: 1.0})
            found += [_ndcg(each, rest + np.float32(weight) * part) / max(base, 1e-9) for weight in GRID]
        return dict(zip(GRID, (found / len(sources)).tolist(), strict=True))

    for _ in range(_ROUNDS):
        before = dict(weights)
        for name in _FURTHER[tier]:
            tried, now = values(name), weights.get(name, 0.0)
            best = max(GRID, key=lambda each: tried[each] * (1.0 if each == now else 1.0 - _GAIN if each else 1.0))
            weights = {**{each: one for each, one in weights.items() if each != name}, **({name: best} if best else {})}
        if weights == before:
            break
    return weights


def _sum(source: Source, weights: Mapping[str, float]) -> Scores:
    return fused(source.scores, Fusion(weights=dict(weights)))


def _ndcg(source: Source, scores: Scores) -> float:
    ranks = places(scores, source.held.targets, least=0.0, excluded=source.held.histories)
    return float(gains(ranks).mean())
