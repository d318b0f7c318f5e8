"""What a recommendation without training is measured against, in each tier; no weight was chosen for any.

voices = rivals("stream", readers, learned)                # name -> a scorer
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from components.foundation.catalogue import Readers
from components.foundation.tiers import ENCODER, TIERS, Tier
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.load import VIEW, build
from components.voices.voice import Scorer

RIVALS: dict[Tier, tuple[str, ...]] = {
    "text_only": ("repeat_last", "text_last", "text_words"),
    "statistics": ("popularity", "recent"),
    "stream": ("item_graph", "graph"),
}
"""By tier those that it adds; a tier is measured against its own and those before it."""


BY_ENCODER = f"{VIEW}:{ENCODER}"


class RepeatLast(Scorer):
    """The items of the history, the newest first: what a model that copies would say."""

    LEAST: ClassVar[float] = 0.0

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found = np.zeros((len(histories), len(self.catalogue.table)), np.float32)
        places = 1.0 + np.arange(len(histories.values)) - histories.offsets[:-1][histories.owners]
        np.maximum.at(found, (histories.owners, histories.values), places.astype(np.float32))
        return found


def rivals(tier: Tier, readers: Readers, learned: Learned) -> dict[str, Scorer]:
    """Those of the tier and the ones before it, and the encoder of texts where there is one; voices that the readers
    have are theirs."""
    of_tier = readers.readers[tier].voices
    found: dict[str, Scorer] = {ENCODER: of_tier[BY_ENCODER]} if BY_ENCODER in of_tier else {}
    for each in TIERS[: TIERS.index(tier) + 1]:
        for name in RIVALS[each]:
            if name == "repeat_last":
                found[name] = RepeatLast(learned.catalogue, {})
            else:
                found[name] = of_tier[name] if name in of_tier else build(name, learned, readers.voices)
    return found
