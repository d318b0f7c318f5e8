"""A catalogue's features in its own measure: mean and deviation over candidates, for which no target is needed.

shop = Standard.of(reader, histories, days, most=1000, seed=17)
ranker columns = (block.columns - shop.mean) / shop.deviation
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.foundation.tiers import ABSENT, ALWAYS, GROUPS, Group, Tier, group_of
from components.ranking.lists import Held
from components.ranking.reading import Reader
from components.storage.ragged import Ragged
from components.voices.fading import Days

_VARIES = 1e-3
"""A feature that deviates less over all candidates says nothing of any; half floats are no finer."""


@dataclass(frozen=True)
class Standard:
    """Of the features of a reader, in their order."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """1 where a feature does not vary."""
    present: frozenset[Group]
    """Groups that the tier may know and of which a feature varies."""

    @classmethod
    def of(cls, reader: Reader, tier: Tier, histories: Ragged, days: Days, *, most: int, seed: int) -> Self:
        """Over the candidates of at most `most` histories, those that the users have already left out."""
        asked = Held(histories, days, np.full(len(histories), -1)).some(most, seed)
        count, total, squares = 0, np.zeros(len(reader.features)), np.zeros(len(reader.features))
        for block in reader.blocks(asked.histories, asked.days):
            part = block.columns[~block.candidates.own].astype(np.float64)
            count += len(part)
            total += part.sum(axis=0)
            squares += (part**2).sum(axis=0)
        mean = total / max(count, 1)
        deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0))
        varies = deviation > _VARIES
        groups = [group_of(each) for each in reader.features]
        present = {group for group, one in zip(groups, varies, strict=True) if one and group is not None}
        return cls(mean, np.where(varies, deviation, 1.0), frozenset((present | {*ALWAYS}) - ABSENT[tier]))

    def flags(self) -> NDArray[np.float64]:
        """[GROUPS] 1 where a group is there."""
        return np.array([float(group in self.present) for group in GROUPS])
