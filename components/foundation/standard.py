"""A catalogue's features in its own measure: mean and deviation over candidates, for which no target is needed.

shop = Standard.of(reader, "stream", histories, days, most=1000, seed=17)
columns = (block.columns - shop.mean) / shop.deviation

In the tier `text_only` nothing but texts is known, so that no history may measure anything: there the sources' measure
holds for every shop (`Standard.pooled`), and a shop only says which groups it has (`Standard.of_texts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.foundation.tiers import ABSENT, ALWAYS, GROUPS, Group, Tier, group_of
from components.ranking.features import Feature
from components.ranking.lists import Held
from components.ranking.reading import Reader
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned

_VARIES = 1e-3
"""A feature that deviates less over all candidates says nothing of any; half floats are no finer."""


Measure = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and deviation of each feature."""


@dataclass(frozen=True)
class Standard:
    """Of the features of a reader, in their order."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """1 where a feature does not vary."""
    present: frozenset[Group]
    """Groups that the tier may know and that the shop has."""
    density: float = 0.0
    """log(1 + events per item) of the histories that the tier knows: what a graph of so many is worth."""

    @classmethod
    def of(cls, reader: Reader, tier: Tier, histories: Ragged, days: Days, *, most: int, seed: int) -> Self:
        """Over the candidates of at most `most` histories, those that the users have already left out."""
        asked = Held(histories, days, np.full(len(histories), -1)).some(most, seed)
        parts = [
            block.columns[~block.candidates.own].astype(np.float64)
            for block in reader.blocks(asked.histories, asked.days)
        ]
        columns = np.concatenate([np.zeros((0, len(reader.features))), *parts])
        mean, deviation = _measure(columns)
        groups = [group_of(each) for each in reader.features]
        present = {group for group, one in zip(groups, deviation > 0, strict=True) if one and group is not None}
        known = frozenset((present | {*ALWAYS}) - ABSENT[tier])
        density = float(np.log1p(len(histories.values) / max(reader.items, 1)))
        return cls(mean, np.where(deviation > 0, deviation, 1.0), known, density)

    @classmethod
    def of_texts(cls, reader: Reader, learned: Learned) -> Self:
        """Which groups a shop has, by its items and by whether times are known; it measures nothing."""
        brand, leaf, _ = reader.arrays["kinds"]
        has: dict[Group, bool] = {
            "brand": bool((brand >= 0).any()),
            "categories": bool((leaf >= 0).any()),
            "own times": bool(np.isfinite(learned.days).any()),
        }
        present = frozenset({*ALWAYS, *(group for group, there in has.items() if there)})
        return cls(np.zeros(len(reader.features)), np.ones(len(reader.features)), present)

    @staticmethod
    def pooled(
        features: Sequence[Feature], columns: Sequence[NDArray[np.float16]], present: Sequence[frozenset[Group]]
    ) -> Measure:
        """Mean and deviation [features] over the candidates of several catalogues, of each feature over those that have
        its group."""
        mean, deviation = np.zeros(len(features)), np.ones(len(features))
        for at, each in enumerate(features):
            having = [
                part[:, at : at + 1] for part, groups in zip(columns, present, strict=True) if group_of(each) in groups
            ]
            if having:
                (mean[at],), (found,) = _measure(np.concatenate(having).astype(np.float64))
                deviation[at] = found or 1.0
        return mean, deviation

    def measured_by(self, measure: Measure) -> Self:
        """The same shop by a given mean and deviation."""
        return replace(self, mean=measure[0], deviation=measure[1])

    def flags(self) -> NDArray[np.float64]:
        """[FLAGS] 1 where a group is there; the density."""
        return np.array([*(float(group in self.present) for group in GROUPS), self.density])


def _measure(columns: NDArray[np.float64]) -> Measure:
    """Mean and deviation of each column; 0 where it does not vary."""
    if not len(columns):
        return np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    deviation = columns.std(axis=0)
    return columns.mean(axis=0), np.where(deviation > _VARIES, deviation, 0.0)
