"""The features of a candidate by name, and the block of users and candidates that they are computed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.storage.ragged import Ragged
from components.voices.fading import Days

Columns = NDArray[np.float32]
"""[candidates, features]"""

COUNTS_AND_TIMES = "counts and times"


@dataclass(frozen=True)
class Feature:
    """A column of what the ranker reads."""

    name: str
    group: str
    """What is switched off together."""
    voice: str | None = None
    """The voice without which it cannot be computed."""


@dataclass(frozen=True)
class Asked:
    """Histories that ask, oldest item first, and the candidates of each, which lie end to end, sorted by owner."""

    histories: Ragged
    days: Days
    owners: NDArray[np.int64]
    """[candidates] whose candidate it is, as a row of `histories`."""
    items: NDArray[np.int64]
    """[candidates] item numbers."""

    @cached_property
    def last(self) -> NDArray[np.int64]:
        """[candidates] place in `histories.values` of the newest event of the owner; -1 where there is none."""
        return np.where(self.lengths > 0, self.histories.offsets[1:][self.owners] - 1, -1)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[candidates] events of the owner."""
        return self.histories.lengths[self.owners]

    @cached_property
    def moments(self) -> Days:
        """[histories] the whole day of the newest event; NaN where there is none or its time is not known."""
        found = np.full(len(self.histories), np.nan)
        filled = self.histories.lengths > 0
        found[filled] = np.floor(self.days[self.histories.offsets[1:][filled] - 1])
        return found


def named(group: str, names: Sequence[str], voice: str | None = None) -> list[Feature]:
    """Features of one group; those of a voice are called VOICE.NAME."""
    return [Feature(f"{voice}.{name}" if voice else name, group, voice) for name in names]


def stacked(columns: Sequence[NDArray[Any]]) -> Columns:
    """Columns side by side."""
    return np.stack([np.asarray(each, np.float32) for each in columns], axis=1)
