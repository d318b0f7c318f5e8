"""Answers for people, as serving and the command line give them: items with textual IDs, titles and true reasons.

answers = Answers.of(bundle)
answers([["B001", "B007"]], [10])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.ranking.clauses import Clause
from components.ranking.modes import Modes
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Recommender, Times
from components.registry.bundle import decoding_of, gives_reasons, wording_of
from components.registry.wording import Wording
from components.settings.decoding import Decoding, Mode

if TYPE_CHECKING:
    from components.ranking.explaining import Explainer

FIELDS = ("item_ids", "textual_ids", "titles", "scores", "reasons", "evidence", "sentence")
"""Lists are of the items, best first: `reasons` in words, and `evidence`, the clauses (components/ranking/clauses.py)
that each reason is made of. `sentence` is one line about the first item."""
_NOTHING = (Clause("none"),)


class Answers:
    """A recommender with its decoding settings, asked on behalf of people."""

    def __init__(
        self, recommender: Recommender, decoding: Decoding, wording: Wording | None = None, *, reasons: bool = True
    ) -> None:
        """`wording`: None for English. `reasons`: whether answers say why; without, `reasons` and `evidence` are as of
        a bundle that has nothing to explain by."""
        self._recommender, self._decoding, self._reasons = recommender, decoding, reasons
        self._wording = wording or Wording.of("en")

    @classmethod
    def of(cls, bundle: Path, *, mode: Mode | None = None, lean: bool = False) -> Answers:
        """A bundle or a saved voice as it was evaluated and registered; `mode` as in `decoding_of`, `lean` as in
        `Engine.load`."""
        from components.ranking.load import load

        decoding = decoding_of(bundle, mode)
        return cls(load(bundle, lean=lean), decoding, wording_of(bundle), reasons=gives_reasons(bundle))

    @property
    def catalogue(self) -> Catalogue:
        """Of the recommender."""
        return self._recommender.catalogue

    def __call__(
        self, histories: Sequence[Sequence[str]], ks: Sequence[int], times: Times = None
    ) -> list[dict[str, Any]]:
        """One answer a row. Rows of equal k are decoded together; a row's answer does not depend on its neighbours.

        A history without a known item gets an empty answer. times: of each history seconds since 1970 of its items, or
        None where they are not known; a ranker that learned when things were taken answers otherwise without them.
        """
        moments = times or [None] * len(histories)
        known = [self.catalogue.rows(history) for history in histories]
        found: list[list[Recommendation]] = [[] for _ in histories]
        for k in sorted(set(ks)):
            rows = [row for row, wanted in enumerate(ks) if wanted == k and known[row]]
            when = [moments[row] for row in rows]
            answers = self._recommender.recommend([histories[row] for row in rows], k, self._decoding, times=when)
            for row, recommended in zip(rows, answers, strict=True):
                found[row] = recommended
        reasons = self._why(histories, found, times)
        return [self._answer(*each) for each in zip(known, found, reasons, strict=True)]

    def _why(
        self, histories: Sequence[Sequence[str]], found: Sequence[Sequence[Recommendation]], times: Times
    ) -> list[list[tuple[Clause, ...]]]:
        """[rows] of [items] of clauses."""
        if self._explainer is None or not any(found):
            return [[_NOTHING for _ in row] for row in found]
        return self._explainer.of(histories, [[each.item_id for each in row] for row in found], times)

    @cached_property
    def _explainer(self) -> Explainer | None:
        """Of a bundle with a ranker, whoever of the two answers; None where there is nothing to explain by, or
        nobody asks."""
        if not self._reasons or (not isinstance(self._recommender, Modes) and not hasattr(self._recommender, "facts")):
            return None  # no tables to explain by, and no library for them
        from components.ranking.explaining import explainer  # with scipy

        return explainer(self._recommender, self._decoding)

    def _answer(
        self, history: Sequence[int], recommended: Sequence[Recommendation], why: Sequence[Sequence[Clause]]
    ) -> dict[str, Any]:
        titles = [self._name(each.item_id) for each in recommended]
        reasons = [self._wording.reason(clauses, self._name) for clauses in why]
        explained = reasons[0] if why and why[0][0].kind != "none" else None
        return {
            "item_ids": [each.item_id for each in recommended],
            "textual_ids": [each.words for each in recommended],
            "titles": titles,
            "scores": [float(each.score) for each in recommended],
            "reasons": reasons,
            "evidence": [[clause.as_json() for clause in clauses] for clauses in why],
            "sentence": self._wording.sentence([self.catalogue.name(item) for item in history], titles, explained),
        }

    def _name(self, item_id: str) -> str:
        return self.catalogue.name(self.catalogue.row_of[item_id])
