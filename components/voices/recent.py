"""Recent popularity: an event counts exp(-days / settings.days), counted back from the newest day of who asks.

Nothing after that day counts, as nobody knew of it then. A history without times is asked on the last day of the
training; where the training has no times, every event counts 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.voice import Voice

_LIVES = 12
"""An event so many times `days` back counts under 1e-5 and is left out."""


class Recent(Voice):
    """An item that nobody took lately is not recommended."""

    Settings = settings.Recent

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        day = np.floor(learned.days)
        known = ~np.isnan(day)
        if not known.any():
            known, day = np.ones(len(day), bool), np.zeros(len(day))
        items, day = learned.histories.values[known], day[known]
        order = np.lexsort((items, day))
        return cls(learned.catalogue, {"items": items[order], "days": day[order]}, chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: nobody took a new item lately."""
        return type(self)(catalogue, self.arrays, self.settings)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        latest = self.arrays["days"].max(initial=0.0)
        asked = np.full(len(histories), latest)
        filled = histories.lengths > 0
        asked[filled] = days[histories.offsets[1:][filled] - 1]
        moments, which = np.unique(np.where(np.isnan(asked), latest, np.floor(asked)), return_inverse=True)
        return np.stack([self._at(moment) for moment in moments])[which]

    def _at(self, moment: float) -> Scores:
        """[items] what was popular at the end of the day `moment`."""
        items, days = self.arrays["items"], self.arrays["days"]
        first, end = np.searchsorted(days, [moment - _LIVES * self.settings.days, moment + 1])
        weight = np.exp((days[first:end] - moment) / self.settings.days)
        return np.bincount(items[first:end], weight, len(self.catalogue.table)).astype(np.float32)
