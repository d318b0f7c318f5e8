"""A recommender that is asked the same by several, and searches once: the language model alone and in a mixture.

engine = Remembered(Engine.load(pair))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from components.progress import Progress
from components.recommender.interface import Recommendation, Recommender, Times
from components.settings.decoding import Decoding

if TYPE_CHECKING:
    from components.recommender.catalogue import Catalogue

_KEPT = 4
"""Questions whose answers are in memory: masked and not, of both orders of ties."""


class Remembered:
    """`interface.Recommender`: the answers of another one, which pays no regard to times."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._answers: dict[object, list[list[Recommendation]]] = {}

    @property
    def catalogue(self) -> Catalogue:
        return self._recommender.catalogue

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """A search of as many beams gives longer answers that begin with the shorter ones, so it is the longer that
        is asked for."""
        deep = max(k, decoding.beams)
        plain = Decoding.of(vars(replace(decoding, mode=None)))
        key = (tuple(map(tuple, histories)), deep, plain)
        if key not in self._answers:
            self._answers[key] = self._recommender.recommend(histories, deep, plain, progress)
            for old in list(self._answers)[:-_KEPT]:
                del self._answers[old]
        return [row[:k] for row in self._answers[key]]
