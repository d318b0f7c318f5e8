"""One bundle, three modes: the language model alone, the ranker alone, or both in one list.

    modes = Modes(catalogue, lambda: engine, lambda: hybrid, Choice("hybrid", share=0.2))
    modes.recommend([["B001", "B007"]], 10, Decoding(mode="rank"))

`generate`: the engine. `rank`: voices and ranker, without the language model. `hybrid`: a mixture of two
distributions over items: (1 - share) * softmax of the ranker over its candidates + share * the language model's
probability of an ID that its beams found; an item that one of them does not propose has no part from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np

from components.errors import BadInput
from components.progress import Progress
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Recommender, Times, check_k, named_rows
from components.settings.bounds import MOST_BEAMS
from components.settings.decoding import Decoding, Mode
from components.storage.ragged import Ragged
from components.voices.lists import Listed

if TYPE_CHECKING:
    from components.ranking.hybrid import Hybrid


CHOICE, HYBRID = "mode.json", "hybrid"
"""What a bundle with a ranker holds beside the language model's files: the choice, and the folder of the hybrid."""

FUSION = "fusion"
"""Kind of a saved sum of voices."""


@dataclass(frozen=True)
class Choice:
    """What validation chose."""

    mode: Mode
    """Answers where a decoding names no mode."""
    share: float
    """Of the language model in the mixture of `hybrid`."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode) or not 0.0 <= self.share <= 1.0:
            raise ValueError(f"mode is {self.mode!r} and share {self.share!r}")


class Modes:
    """`interface.Recommender`: an engine and a hybrid over one catalogue. Each is loaded when it is first asked."""

    def __init__(
        self, catalogue: Catalogue, engine: Callable[[], Recommender], ranker: Callable[[], Hybrid], choice: Choice
    ) -> None:
        self.catalogue, self.choice = catalogue, choice
        self._load_engine, self._load_ranker = engine, ranker

    @cached_property
    def engine(self) -> Recommender:
        return self._load_engine()

    @cached_property
    def ranker(self) -> Hybrid:
        ranker = self._load_ranker()
        if ranker.catalogue.table.item_ids != self.catalogue.table.item_ids:
            mend = "run the stages `index` and `rank` again"
            raise BadInput("the ranker was taught another catalogue than the model has", where="rank", mend=mend)
        return ranker

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """In the mode that `decoding` names, else in that of the choice."""
        mode = decoding.mode or self.choice.mode
        if mode == "rank":
            return self.ranker.recommend(histories, k, decoding, progress, times)
        if mode == "generate":
            return self.engine.recommend(histories, k, replace(decoding, mode=None), progress, times)
        return self._mixed(histories, k, decoding, progress, times)

    def _mixed(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None,
        times: Times,
    ) -> list[list[Recommendation]]:
        check_k(k)
        wanted = min(max(k, decoding.beams), MOST_BEAMS)
        found = self.engine.recommend(histories, wanted, replace(decoding, mode=None), progress, times)
        known, days = self.ranker.read(histories, times)
        masked = self.catalogue.masks(decoding)
        answers: list[list[Recommendation]] = []
        size = len(self.catalogue.table)
        for block, ranked in self.ranker.listed_blocks(known, days):
            written = written_list(self.catalogue, found[len(answers) : len(answers) + len(block)])
            both = mixed_lists(ranked, written, self.choice.share, users=len(block), items=size)
            items, values = both.best(len(block), k, items=size, excluded=block if masked else None)
            answers += named_rows(self.catalogue, items, values)
        return answers


def mixed_lists(ranked: Listed, written: Listed, share: float, *, users: int, items: int) -> Listed:
    """log((1 - share) * softmax(ranked) + share * exp(written)); what neither of them proposes is not there.

    Items that are masked later have their part, so that a mask does not change the order of the others. Where the
    ranker proposes nothing at all for a user, the language model has the whole. `items`: of the catalogue.
    """
    keys, back = np.unique(
        np.concatenate([each.owners * items + each.items for each in (ranked, written)]), return_inverse=True
    )
    owners = keys // items
    ours, theirs = np.zeros(len(keys)), np.zeros(len(keys))
    highest = np.full(users, -np.inf)
    np.maximum.at(highest, ranked.owners, ranked.scores.astype(np.float64))
    powers = np.exp(ranked.scores - highest[ranked.owners])
    total = np.bincount(ranked.owners, powers, minlength=users)
    ours[back[: len(powers)]] = powers / total[ranked.owners]
    theirs[back[len(powers) :]] = np.exp(written.scores, dtype=np.float64)
    part = np.where(total > 0, share, 1.0)[owners]
    with np.errstate(divide="ignore"):
        scores = np.log((1.0 - part) * ours + part * theirs).astype(np.float32)
    there = scores > -np.inf
    return Listed(owners[there], keys[there] % items, scores[there])


def written_list(catalogue: Catalogue, answers: Sequence[Sequence[Recommendation]]) -> Listed:
    """The scores of an answer's items."""
    rows = [[catalogue.table.row_of[each.item_id] for each in answer] for answer in answers]
    packed = Ragged.of(rows)
    scores = np.array([each.score for answer in answers for each in answer], np.float32)
    order = np.lexsort((packed.values, packed.owners))
    return Listed(packed.owners[order], packed.values[order], scores[order])
