"""Who answers: the language model, the ranker, or a mixture; and how validation chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.errors import BadInput
from components.ranking.choosing import choose_mode
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.modes import Choice, Modes, mixed_lists
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, named
from components.settings.decoding import Decoding
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from components.voices.lists import Listed, Scores, best, places
from tests.ranking.shops import catalogue


@dataclass
class Written:
    """Stands for a language model: it writes the items `ahead` places on from the newest, all equally likely."""

    catalogue: Catalogue
    ahead: tuple[int, ...]

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int, decoding: Decoding, progress: Any = None, times: Any = None
    ) -> list[list[Recommendation]]:
        assert decoding.mode is None
        rows = [self.catalogue.rows(history) for history in histories]
        found = [[(row[-1] + step) % 40 for step in self.ahead] if row else [] for row in rows]
        masked = self.catalogue.masks(decoding)
        kept = [
            [item for item in items if not (masked and item in row)] for items, row in zip(found, rows, strict=True)
        ]
        return [named(self.catalogue, items[:k], [-1.0] * len(items[:k])) for items in kept]


def mixed(ranked: Scores, written: Scores, share: float) -> Scores:
    """[users, items] the definition, over the whole catalogue; -inf is what nobody proposes."""
    ours = _softmax(ranked)
    share_of = np.where(ours.any(axis=1, keepdims=True), share, 1.0)
    with np.errstate(divide="ignore"):
        found: Scores = np.log((1.0 - share_of) * ours + share_of * np.exp(written, dtype=np.float64)).astype(
            np.float32
        )
    return found


def _softmax(scores: Scores) -> NDArray[np.float64]:
    """[users, items] of finite scores; a row of -inf stays 0."""
    highest = scores.max(axis=1, keepdims=True).astype(np.float64)
    powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total = powers.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = powers / np.where(total > 0, total, 1.0)
    return found


HISTORIES = [["i001", "i003"], ["i030"], []]


def test_a_mixture_is_of_two_distributions() -> None:
    """Prevents an item that one side alone proposes being lost, and a user whom one side does not know."""
    none = -np.inf
    ranked = np.array([[np.log(3.0), 0.0, none, none], [none] * 4, [0.5, none, none, 0.5]])
    written = np.log(np.array([[0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0] * 4]) + 1e-300)
    written[written < -600] = none
    found = np.exp(mixed(ranked.astype(np.float32), written.astype(np.float32), 0.2))
    assert np.allclose(found, [[0.6, 0.3, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0], [0.4, 0.0, 0.0, 0.4]], atol=1e-6)


def test_lists_are_mixed_as_rows_over_the_catalogue() -> None:
    """The fast path against the definition: the same items in the same order, masked or not, whoever else asks."""
    draw, users, items = np.random.default_rng(5), 40, 30
    rows = [np.where(draw.random((users, items)) < 0.3, draw.normal(size=(users, items)), -np.inf) for _ in range(2)]
    rows[0][3], rows[1][4], rows[0][5], rows[1][5] = (-np.inf,) * 4
    rows[0][6, :4] = 0.25  # ties
    ranked, written = (each.astype(np.float32) for each in (rows[0], rows[1] - 5))
    lists = [Listed(*np.nonzero(each > -np.inf), each[each > -np.inf]) for each in (ranked, written)]
    seen = Ragged.of([draw.choice(items, 4).tolist() for _ in range(users)])
    for excluded in (None, seen):
        listed = mixed_lists(*lists, 0.2, users=users, items=items).best(users, 8, items=items, excluded=excluded)
        wanted = best(mixed(ranked, written, 0.2), 8, least=-np.inf, excluded=excluded)
        assert np.array_equal(listed[0], wanted[0])
        targets = draw.integers(0, items, users)
        ranks = mixed_lists(*lists, 0.2, users=users, items=items).places(targets, items=items, excluded=excluded)
        assert ranks.tolist() == places(mixed(ranked, written, 0.2), targets, least=-np.inf, excluded=excluded).tolist()
        np.testing.assert_allclose(listed[1], wanted[1], rtol=1e-6)


def test_each_mode_answers_as_it_says(hybrid: Hybrid) -> None:
    """Prevents a mode that is named and not heard, and a default that overrules what is asked for."""
    written = Written(hybrid.catalogue, (7, 20))
    for default in ("generate", "rank", "hybrid"):
        modes = Modes(hybrid.catalogue, lambda: written, lambda: hybrid, Choice(default, 0.3))
        answers = {mode: modes.recommend(HISTORIES, 5, Decoding(mode=mode)) for mode in ("generate", "rank", "hybrid")}
        assert answers["generate"] == written.recommend(HISTORIES, 5, Decoding())
        assert answers["rank"] == hybrid.recommend(HISTORIES, 5, Decoding())
        assert modes.recommend(HISTORIES, 5, Decoding()) == answers[default]
        both = [{each.item_id for each in row} for row in answers["hybrid"]]
        assert both[0] & {"i010", "i023"} and both[0] & {each.item_id for each in answers["rank"][0]}
        assert not both[0] & {"i001", "i003"} and not answers["hybrid"][2]
        for row in answers["hybrid"]:
            assert [each.score for each in row] == sorted((each.score for each in row), reverse=True)


def test_only_who_is_asked_is_loaded(hybrid: Hybrid) -> None:
    """Prevents a command line that loads a ranker to ask the language model, and the other way round."""

    def never() -> Any:
        raise AssertionError("loaded")

    written = Written(hybrid.catalogue, (1,))
    Modes(hybrid.catalogue, lambda: written, never, Choice("generate", 0.0)).recommend(HISTORIES, 3, Decoding())
    Modes(hybrid.catalogue, never, lambda: hybrid, Choice("rank", 0.0)).recommend(HISTORIES, 3, Decoding())


def test_a_ranker_of_another_catalogue_is_refused(hybrid: Hybrid) -> None:
    """Prevents item numbers that mean other items to the two."""
    modes = Modes(catalogue(39), lambda: Written(catalogue(39), (1,)), lambda: hybrid, Choice("rank", 0.0))
    with pytest.raises(BadInput, match="another catalogue"):
        modes.recommend(HISTORIES, 3, Decoding())


@pytest.mark.parametrize("wrong", [{"mode": "both", "share": 0.1}, {"mode": "rank", "share": 1.5}])
def test_a_choice_that_is_none_cannot_be_made(wrong: dict[str, Any]) -> None:
    """Prevents a bundle whose mode nobody knows."""
    with pytest.raises(ValueError, match="mode"):
        Choice(**wrong)


def test_validation_chooses(hybrid: Hybrid, learned: tuple[Learned, Held]) -> None:
    """Prevents a default by taste: who knows the answers answers, who knows nothing does not."""
    _, valid = learned
    useless, report = choose_mode(Written(hybrid.catalogue, (17,)), hybrid, valid, Decoding(), most_users=1000, seed=1)
    assert useless.mode == "rank"
    assert report["users"] == len(valid.histories) and report["ndcg_at_10"]["rank"] > 0.5
    answers = {
        tuple(history.tolist()): int(target) for history, target in zip(valid.histories, valid.targets, strict=True)
    }

    class Knows(Written):
        def recommend(self, histories: Any, *rest: Any, **settings: Any) -> Any:
            rows = [tuple(self.catalogue.rows(history)) for history in histories]
            return [named(self.catalogue, [answers[row]], [-1.0]) for row in rows]

    knowing, _ = choose_mode(Knows(hybrid.catalogue, ()), hybrid, valid, Decoding(), most_users=1000, seed=1)
    assert knowing.mode in ("generate", "hybrid")
