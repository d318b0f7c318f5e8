"""Items in training prompts that are written by another wording than their ID, drawn anew in every epoch.

wordings = Wordings(others.offsets, share=0.2)
forms = wordings.drawn(items, seeds, places)       # rows of the IDs and, behind them, of the other wordings
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.storage.ragged import Ints, Ragged

_STEP, _MIX, _MIX_AGAIN = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Wordings:
    """Other wordings of the IDs (textid/words/wordings.py), and how often they stand in a prompt."""

    tokens: Ragged
    """Of each wording, without the separator."""
    offsets: Ints
    """[items + 1]: those of item i are the rows offsets[i] to offsets[i + 1]."""
    share: float
    """Of the items of prompts; one that has no other wording keeps its ID."""

    def drawn(self, items: NDArray[np.integer], seeds: Ints, places: Ints) -> Ints:
        """[n] what stands for each item: itself or, numbered behind all items, another wording.

        A function of the seed [n] of an item's row and its place [n] in it.
        """
        count = self.offsets[items + 1] - self.offsets[items]
        another = (count > 0) & (chances(seeds, 2 * places) < self.share)
        which = (_mixed(seeds, 2 * places + 1) % np.maximum(count, 1).astype(np.uint64)).astype(np.int64)
        return np.where(another, len(self.offsets) - 1 + self.offsets[items] + which, items)


def chances(seeds: Ints, places: Ints) -> NDArray[np.float64]:
    """[n] a number from 0 to 1 for each place of each seed."""
    return (_mixed(seeds, places) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(seeds: Ints, places: Ints) -> NDArray[np.uint64]:
    """64 random bits for each place of each seed (splitmix64)."""
    found = seeds.astype(np.uint64) + (places.astype(np.uint64) + np.uint64(1)) * _STEP
    found = (found ^ (found >> np.uint64(30))) * _MIX
    found = (found ^ (found >> np.uint64(27))) * _MIX_AGAIN
    return found ^ (found >> np.uint64(31))
