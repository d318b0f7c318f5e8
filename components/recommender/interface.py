"""What every recommender answers: histories of item ids in, recommended items out.

    recommender = load(directory)                              # components/voices/load.py
    recommender.recommend([["B001", "B007"]], 10, Decoding())

The engine (engine.py) is one, and so is each voice (components/voices). One suite of tests holds all of them to what
`Recommender` promises (tests/recommender/test_every_recommender.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from components.errors import BadInput
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.settings.bounds import MOST_BEAMS
from components.settings.decoding import Decoding


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    item_id: str
    words: str
    """Its textual ID."""
    score: float
    """Higher is better; scores of two recommenders cannot be compared. The engine's: sum of the log-probabilities of
    the ID's tokens / length ** length_penalty, never above 0."""


Times = Sequence[Sequence[float] | None] | None
"""For each history the seconds since 1970 (UTC) of its events, or None where they are not known; None: of all."""


class Recommender(Protocol):
    """Anything that recommends items of one catalogue."""

    @property
    def catalogue(self) -> Catalogue:
        """What it recommends from, and how it reads histories."""
        ...

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """The best `k` items for each history of item ids (oldest first), best first; ties by item number.

        Histories are read as `Catalogue.canonical` says, and unknown items are skipped. A history without any known
        item is answered like an empty one. With `mask_seen`, items of the history never come out. Where fewer than `k`
        items can be recommended, there are fewer. An answer does not depend on the other histories of the call.
        `times` are those of the histories as given; who knows no time ignores them.
        Raises `BadInput` for a `k` out of bounds.
        """
        ...


def check_k(k: int) -> None:
    """Raises `BadInput` for a number of items that no recommender gives."""
    if not 1 <= k <= MOST_BEAMS:
        raise BadInput(f"k is {k}", where="recommend", mend=f"give 1 to {MOST_BEAMS}")


def named(catalogue: Catalogue, items: Iterable[int], scores: Iterable[float]) -> list[Recommendation]:
    """Item numbers and their scores as recommendations; a negative number is padding."""
    ids, words = catalogue.table.item_ids, catalogue.table.words
    pairs = zip(items, scores, strict=True)
    return [Recommendation(ids[item], words[item], score) for item, score in pairs if item >= 0]


def named_rows(catalogue: Catalogue, items: NDArray[Any], scores: NDArray[Any]) -> list[list[Recommendation]]:
    """`named` of each row of item numbers and scores [users, k]."""
    return [named(catalogue, *row) for row in zip(items.tolist(), scores.tolist(), strict=True)]
