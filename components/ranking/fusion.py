"""Voices in one sum with fixed weights, without training: score = sum of weight * score of the voice.

fusion = Fusion.build(learned, settings.Fusion(weights={"text_words": 1.0, "graph": 3.0}))
fusion.save(folder)                                        # components/ranking/load.py: load(folder)

Scores are taken as they are: that a voice knows little of a user is worth knowing. Of the voices of `shares`, whose
scores grow with the shop, the share of the user's largest one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from components.recommender.catalogue import Catalogue
from components.settings import ranking as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.load import build, restored
from components.voices.voice import Scorer, Voice


class Fusion(Scorer):
    """An item that no voice speaks for is not recommended."""

    Settings = settings.Fusion

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any) -> None:
        """`arrays`: those of each voice, as VOICE/NAME."""
        super().__init__(catalogue, arrays, chosen)
        own: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in chosen.weights}
        for name, array in arrays.items():
            voice, _, part = name.partition("/")
            own[voice][part] = array
        self.voices = {name: restored(name, catalogue, each, chosen.voices) for name, each in own.items()}

    @classmethod
    def of(cls, voices: Mapping[str, Voice], catalogue: Catalogue, chosen: settings.Fusion) -> Self:
        """Over voices that were built with `chosen.voices`; those without a weight are left out."""
        arrays = {f"{name}/{part}": array for name in chosen.weights for part, array in voices[name].arrays.items()}
        return cls(catalogue, arrays, chosen)

    @classmethod
    def build(cls, learned: Learned, chosen: settings.Fusion) -> Self:
        """Build the voices that have a weight."""
        voices = {name: build(name, learned, chosen.voices) for name in chosen.weights}
        return cls.of(voices, learned.catalogue, chosen)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        return fused({name: voice.scores(histories, days) for name, voice in self.voices.items()}, self.settings)


def fused(scores: Mapping[str, Scores], chosen: settings.Fusion) -> Scores:
    """[users, items] the weighted sum of voices' scores, which are left as they are."""
    found: Scores | None = None
    for name, weight in chosen.weights.items():
        part = weight * scores[name]
        if name in chosen.shares:
            largest = scores[name].max(axis=1, keepdims=True)
            part /= np.where(largest > 0, largest, 1.0)
        found = part if found is None else found + part
    if found is None:
        raise ValueError("a fusion of no voice")
    return found
