"""Scores of given items: those of the slow search that finds every item, and of the beam search for what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.recommender.search.forced import ForcedScoring
from components.recommender.search.search import BeamSearch
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged
from tests.networks.causal_models import model_over
from tests.recommender.references import END, by_dict
from tests.recommender.search.decoders import MODES, VOCABULARY, make_ids, make_prompts

USERS, ITEMS = 4, 30
# All, some with one twice, none, one.
CANDIDATES = [list(range(ITEMS)), [7, 3, 21, 3], [], [29]]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["t5", "bart", "llama"])
def test_scores_are_those_of_a_search_that_drops_nothing(
    make_model: Callable[..., Any], kind: str, mode: Any, length_penalty: float
) -> None:
    """Prevents a prefix that is read for another user or beam, and an end token that is forgotten or counted twice."""
    ids, prompts = make_ids(ITEMS, seed=1), make_prompts(USERS, seed=1)
    model, settings = make_model(VOCABULARY, seed=3, kind=kind), {"scores": mode, "length_penalty": length_penalty}
    slow = [dict(row) for row in by_dict(model, ids, *prompts, beams=200, results=ITEMS, **settings)]
    scoring = ForcedScoring(model_over(model), Trie.build(ids, end_token=END), candidates=ITEMS, **settings)
    found = scoring(*prompts, Ragged.of(CANDIDATES)).numpy()
    expected = [slow[user][item] for user, items in enumerate(CANDIDATES) for item in items]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_beams_find_scores_the_same(make_model: Callable[..., Any], mode: Any) -> None:
    """Prevents a fusion whose candidates have one score where the beams found them and another where they did not."""
    ids, prompts = make_ids(300, seed=2, longest=8), make_prompts(6, seed=2)
    model, trie = model_over(make_model(VOCABULARY, seed=5)), Trie.build(ids, end_token=END)
    hits = BeamSearch(model, trie, beams=12, scores=mode)(*prompts)
    scoring = ForcedScoring(model, trie, candidates=12, scores=mode, length_penalty=0.0)
    found = scoring(*prompts, Ragged.of(hits.items.tolist()))
    np.testing.assert_allclose(found, hits.scores.flatten(), atol=1e-5)
