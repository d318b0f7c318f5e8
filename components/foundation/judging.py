"""Judges what recommends in a tier on one set of targets: NDCG@10 in the whole catalogue, paired with the best rival.

table = judged(ranks, rivals=["text_words", "repeat_last"])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ranking.lists import Held
from components.ranking.training import gains, paired
from components.voices.lists import places
from components.voices.voice import Scorer

Ranks = NDArray[np.int64]
"""[users] of the targets, 1 the best, 0 where one is not in the list."""


def ranks_of(scorer: Scorer, held: Held, *, masked: bool) -> Ranks:
    """Ranks of the targets among all items."""
    found, start = [np.zeros(0, np.int64)], 0
    for block, scores in scorer.blocks(held.histories, held.days):
        targets = held.targets[start : start + len(block)]
        found.append(places(scores, targets, least=scorer.LEAST, excluded=block if masked else None))
        start += len(block)
    return np.concatenate(found)


@dataclass(frozen=True)
class Judged:
    """One tier."""

    ours: str
    """Which contender is ours."""
    figures: Mapping[str, float]
    """Contender -> NDCG@10."""
    rival: str
    """The best of the rivals."""
    differences: Mapping[str, tuple[float, float, float]]
    """Contender -> NDCG@10 of ours minus its own, and the 95 % interval over users."""
    users: int
    ranks: Mapping[str, Ranks]
    """Contender -> [users] ranks of the targets."""
    answers: str | None = None
    """Whose answers ours are, where it is one of the others, chosen (`choosing`)."""

    def facts(self) -> dict[str, Any]:
        """For a JSON line."""
        mean, low, high = self.differences[self.rival]
        return {
            "ndcg_at_10": _rounded(self.figures[self.ours]),
            "ours": self.ours,
            **({"answers": self.answers} if self.answers else {}),
            "rival": {"name": self.rival, "ndcg_at_10": _rounded(self.figures[self.rival])},
            "difference": _rounded(mean),
            "difference_low": _rounded(low),
            "difference_high": _rounded(high),
            "users": self.users,
            "all": {name: _rounded(each) for name, each in self.figures.items()},
        }


def judged(ranks: Mapping[str, Ranks], *, ours: str, rivals: Sequence[str]) -> Judged:
    """`ranks` of all contenders on the same targets; `ours` and `rivals` are among them."""
    gain = {name: gains(each) for name, each in ranks.items()}
    figures = {name: float(each.mean()) for name, each in gain.items()}
    best = max(rivals, key=lambda name: figures[name])
    differences = {name: paired(gain[ours] - each) for name, each in gain.items() if name != ours}
    return Judged(ours, figures, best, differences, len(next(iter(ranks.values()))), ranks)


def _rounded(value: float) -> float:
    return round(value, 6)
