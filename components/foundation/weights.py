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

import numpy as np

from components.errors import BadInput
from components.foundation.catalogue import Readers
from components.foundation.tiers import TIERS, Tier
from components.ranking.fusion import fused
from components.ranking.lists import Held
from components.ranking.training import gains
from components.settings.ranking import Fusion
from components.storage.artifacts import read_json
from components.voices.learned import Learned
from components.voices.lists import Scores, places

PRESET = Path(__file__).with_name("weights.json")
GRID = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
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
    first = _FIRST[tier]
    weights = {first: 1.0}
    alone = [_ndcg(each, weights) for each in sources]

    def value(tried: Mapping[str, float]) -> float:
        pairs = zip(sources, alone, strict=True)
        return float(np.mean([_ndcg(each, tried) / max(base, 1e-9) for each, base in pairs]))

    best = value(weights)
    for _ in range(_ROUNDS):
        before = dict(weights)
        for name in _FURTHER[tier]:
            tried = {each: value(_with(weights, name, each)) for each in GRID if each != weights.get(name, 0.0)}
            weight = max(tried, key=lambda each: tried[each])
            if tried[weight] > best * (1.0 + (_GAIN if weight else 0.0)):
                weights, best = _with(weights, name, weight), tried[weight]
        if weights == before:
            break
    return weights


def _with(weights: Mapping[str, float], name: str, weight: float) -> dict[str, float]:
    found = {**weights, name: weight}
    return {each: one for each, one in found.items() if one}


def _ndcg(source: Source, weights: Mapping[str, float]) -> float:
    scores = fused(source.scores, Fusion(weights=dict(weights)))
    ranks = places(scores, source.held.targets, least=0.0, excluded=source.held.histories)
    return float(gains(ranks).mean())
