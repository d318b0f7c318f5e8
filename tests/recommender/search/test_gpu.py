"""The search for a GPU, on a CPU: it must never wait, and must not hold more than it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from components.recommender.search import gpu
from components.recommender.search.excluded import Excluded
from components.recommender.search.gpu import branching
from components.recommender.search.search import BeamSearch
from components.recommender.trie.trie import Trie
from tests.networks.causal_models import model_over
from tests.recommender.references import END
from tests.recommender.search.decoders import MODES, VOCABULARY, as_answer, assert_same, make_ids, make_prompts
from tests.recommender.search.waits import NoWaiting


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_the_loop_never_waits_for_the_device(make_model: Callable[..., Any], kind: str, mode: Any) -> None:
    """One `.item()` in a step costs a GPU more than the step; on a CPU nobody would notice it come in."""
    trie = Trie.build(make_ids(40), end_token=END)
    search = BeamSearch(model_over(make_model(VOCABULARY, kind=kind)), trie, beams=5, scores=mode, way="gpu")
    input_ids, mask = make_prompts(3)
    excluded = Excluded.of(trie, [[1, 2], [], list(range(38))])  # made on the host, before the loop
    expected = as_answer(search(input_ids, mask, excluded=[[1, 2], [], list(range(38))]))
    with NoWaiting():
        hits = search._search(input_ids, mask, excluded)
    assert_same(as_answer(hits), expected, tolerance=0.0)


@pytest.mark.parametrize("wait", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: torch.tensor([1]), bool])
def test_waiting_is_noticed(wait: Callable[[Any], Any]) -> None:
    """A guard that catches nothing would pass every loop."""
    ready = torch.ones(1)
    with pytest.raises(AssertionError, match="wait"), NoWaiting():
        wait(ready)


def test_the_search_for_a_cpu_would_wait(make_model: Callable[..., Any]) -> None:
    """If this one passed the guard too, the guard would prove nothing about the other."""
    model, trie = model_over(make_model(VOCABULARY)), Trie.build(make_ids(40), end_token=END)
    with pytest.raises(AssertionError, match="wait"), NoWaiting():
        BeamSearch(model, trie, beams=5, way="cpu")._search(*make_prompts(3), None)


def test_logits_are_made_in_pieces(make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """500 beams x a vocabulary of 250,000 would not fit; the pieces must come back in their order."""
    model, ids = model_over(make_model(VOCABULARY, seed=4)), make_ids(40)
    settings: dict[str, Any] = {"beams": 6, "way": "gpu"}
    whole = as_answer(BeamSearch(model, Trie.build(ids, end_token=END), **settings)(*make_prompts(4)))
    monkeypatch.setattr(gpu, "_CELLS", 5 * VOCABULARY)
    pieces = as_answer(BeamSearch(model, Trie.build(ids, end_token=END), **settings)(*make_prompts(4)))
    assert_same(pieces, whole, tolerance=1e-5)


def test_branching_is_the_widest_node_of_each_depth() -> None:
    """One child too few in this count, and an item can never come out."""
    trie = Trie.build([(3,), (4, 5), (4, 6), (4, 7), (4, 5, 8)], end_token=END)
    assert branching(trie) == (2, 3, 2, 1)
