"""A graph and text in one sum, without training: score = graph + text_weight * summed cosines.

Scores are not normalised for each user: that the graph knows little is worth knowing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from numpy.typing import NDArray

from components.recommender.catalogue import Catalogue
from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.graph import Graph
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.text import Text
from components.voices.voice import Voice


class GraphText(Voice):
    """An item that neither part speaks for is not recommended."""

    Settings = settings.GraphText

    def __init__(self, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], chosen: Any) -> None:
        super().__init__(catalogue, arrays, chosen)
        self._graph, self._text = Graph(catalogue, arrays, chosen.graph), Text(catalogue, arrays, chosen.text)

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        graph, text = Graph.build(learned, chosen.graph), Text.build(learned, chosen.text)
        return cls(learned.catalogue, {**graph.arrays, **text.arrays}, chosen)

    def extended(self, catalogue: Catalogue, texts: Mapping[str, Sequence[Any]]) -> Self:
        """`Scorer.extended`: text alone speaks for a new item."""
        graph, text = self._graph.extended(catalogue, texts), self._text.extended(catalogue, texts)
        return type(self)(catalogue, {**self.arrays, **_own(graph, "weights"), **_own(text, "text")}, self.settings)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found = self._text.scores(histories, days)
        found *= self.settings.text_weight
        found += self._graph.scores(histories, days)
        return found


def _own(voice: Voice, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one part: those of both are handed to each."""
    return {key: array for key, array in voice.arrays.items() if key.startswith(f"{name}.")}
