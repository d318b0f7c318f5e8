"""One contract for every decoder: the same items and scores as Hugging Face, alone or in a batch, never a filler."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.errors import BadInput
from components.recommender.search import cpu
from components.recommender.search import search as decode
from components.recommender.search.search import BeamSearch
from components.recommender.trie.trie import Trie
from tests.networks.causal_models import CAUSAL_KINDS, model_over
from tests.recommender.references import END, Answer, by_dict, by_hugging_face
from tests.recommender.search.decoders import MODES, VOCABULARY, as_answer, assert_same, make_ids, make_prompts

MakeModel = Callable[..., Any]
SearchOf = Callable[..., BeamSearch]
BOTH_FAMILIES = pytest.mark.parametrize("kind", ["t5", "bart", "llama"])


@pytest.fixture(params=["cpu", "cpu, one product", "gpu"])
def search_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SearchOf:
    """`BeamSearch`, computed as on a CPU, in both of its ways to a logit, and as on a GPU: all must keep every promise
    below. Tries this small would never be asked logit by logit."""
    monkeypatch.setattr(cpu, "_PRODUCT_COST", 1e9 if request.param == "cpu, one product" else 0)
    return partial(BeamSearch, way=request.param[:3])


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("beams", [2, 7, 60])
@pytest.mark.parametrize("kind", ["t5", "mt5", "bart", "mbart", *CAUSAL_KINDS])
def test_vocabulary_mode_is_hugging_face(
    make_model: MakeModel, search_of: SearchOf, kind: str, beams: int, length_penalty: float
) -> None:
    """The definition of `vocabulary` mode: any shortcut that changes an item or a score shows here."""
    model = make_model(VOCABULARY, seed=beams, kind=kind)
    settings = {"beams": beams, "results": min(beams, 20), "length_penalty": length_penalty}
    search = search_of(model_over(model), Trie.build(make_ids(50), end_token=END), **settings)
    found = as_answer(search(*make_prompts(5)))
    assert_same(found, hugging_face_finds(make_model, kind, beams, length_penalty))


@cache
def hugging_face_finds(make_model: MakeModel, kind: str, beams: int, length_penalty: float) -> Answer:
    """What the test above expects: the same of every way to search."""
    model = make_model(VOCABULARY, seed=beams, kind=kind)
    settings = {"beams": beams, "results": min(beams, 20), "length_penalty": length_penalty}
    return by_hugging_face(model, make_ids(50), *make_prompts(5), **settings)


@BOTH_FAMILIES
@pytest.mark.parametrize("seed", range(4))
def test_exclusion_is_a_trie_without_the_items(
    make_model: MakeModel, search_of: SearchOf, kind: str, seed: int
) -> None:
    """Seen items must not come out and must not take a beam: as if each user had a trie of their own."""
    model, ids = make_model(VOCABULARY, seed=seed, kind=kind), make_ids(50, seed)
    input_ids, mask = make_prompts(4, seed)
    random = np.random.default_rng(seed)
    # A user with nothing excluded, two with some, one who has seen nearly all.
    excluded = [random.choice(50, size=size, replace=False).tolist() for size in (0, 5, 20, 47)]
    search = search_of(model_over(model), Trie.build(ids, end_token=END), beams=6)
    found = as_answer(search(input_ids, mask, excluded=excluded))
    assert_same(found, by_hugging_face(model, ids, input_ids, mask, beams=6, results=6, excluded=excluded))
    assert [len(row) for row in found] == [6, 6, 6, 3]


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("beams", "length_penalty", "seen"),
    [(1, 0.0, 0), (3, 0.0, 4), (5, 1.0, 0), (40, 0.0, 9), (12, 1.0, 0), (12, -1.0, 0), (8, -2.5, 3)],
)
def test_both_modes_are_the_slow_search(
    make_model: MakeModel,
    search_of: SearchOf,
    kind: str,
    mode: Any,
    beams: int,
    length_penalty: float,
    seen: int,
) -> None:
    """Trie scores have no reference outside: a search over a dict, one whole forward a step, defines them.

    With fewer results than beams, beams that cannot win any more are dropped. Prevents a bound for the wrong length
    (the deepest ID's under a negative penalty, the beam's own under a positive one), which drops IDs that would win.
    """
    ids, excluded = ids_and_seen(seen, length_penalty)
    settings = {"scores": mode, "beams": beams, "results": min(beams, 5), "length_penalty": length_penalty}
    model = make_model(VOCABULARY, seed=3, kind=kind)
    search = search_of(model_over(model), Trie.build(ids, end_token=END), **settings)
    found = as_answer(search(*make_prompts(3, seed=1), excluded=excluded))
    assert_same(found, slow_search_finds(make_model, kind, mode, beams, length_penalty, seen))


def ids_and_seen(seen: int, length_penalty: float) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """Long IDs where their lengths count, and the items that each of three users has seen."""
    ids = make_ids(30, seed=1, longest=12 if length_penalty else 6)
    return ids, [[(user * 7 + step) % 30 for step in range(seen)] for user in range(3)]


@cache
def slow_search_finds(
    make_model: MakeModel, kind: str, mode: str, beams: int, length_penalty: float, seen: int
) -> Answer:
    """What the test above expects: the same of every way to search."""
    model, (ids, excluded) = make_model(VOCABULARY, seed=3, kind=kind), ids_and_seen(seen, length_penalty)
    settings: dict[str, Any] = {"scores": mode, "beams": beams, "results": min(beams, 5)}
    settings |= {"length_penalty": length_penalty, "excluded": excluded}
    return by_dict(model, ids, *make_prompts(3, seed=1), **settings)


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
def test_batch_equals_single(make_model: MakeModel, search_of: SearchOf, kind: str, mode: Any) -> None:
    """A user's answer must not depend on who else is in the batch, nor on when the others finish."""
    ids = make_ids(60, seed=2)
    search = search_of(
        model_over(make_model(VOCABULARY, seed=5, kind=kind)),
        Trie.build(ids, end_token=END),
        beams=5,
        scores=mode,
    )
    input_ids, mask = make_prompts(9, seed=2)
    excluded = [list(range(user)) for user in range(9)]
    whole = as_answer(search(input_ids, mask, excluded=excluded))
    single = [
        as_answer(search(input_ids[user : user + 1], mask[user : user + 1], excluded=[excluded[user]]))[0]
        for user in range(9)
    ]
    assert_same(whole, single, tolerance=1e-5)


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
def test_independent_of_the_order_of_users_and_items(
    make_model: MakeModel, search_of: SearchOf, kind: str, mode: Any
) -> None:
    """Row order is an accident of storage; it must not reach a customer."""
    ids = make_ids(60, seed=2)
    model = model_over(make_model(VOCABULARY, seed=6, kind=kind))
    input_ids, mask = make_prompts(6, seed=3)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = np.random.default_rng(0).permutation(60).tolist()
    first = as_answer(search_of(model, Trie.build(ids, end_token=END), beams=5, scores=mode)(input_ids, mask))
    trie = Trie.build([ids[place] for place in shuffled], end_token=END)
    second = as_answer(search_of(model, trie, beams=5, scores=mode)(input_ids[order], mask[order]))
    renamed = [[(shuffled[item], score) for item, score in row] for row in second]
    assert_same([renamed[int(place)] for place in order.argsort()], first, tolerance=1e-5)


class Bigrams:
    """A language model whose next token depends on the last one only: the right answer can be computed on paper."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights
        self.start_token, self.end_token, self.vocabulary_size = 0, END, len(weights)

    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int, rows_at_once: int) -> None:
        return None

    def select(self, cache: None, rows: Tensor) -> None:
        return None

    def step(self, cache: None, tokens: Tensor, parents: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(tokens, len(self._weights)).float()

    def output_rows(self, tokens: Tensor) -> Tensor:
        return self._weights.T[tokens]

    def normaliser(self, hidden: Tensor) -> Tensor:
        return (hidden @ self._weights).logsumexp(-1)


ONE_USER = (torch.full((1, 3), 5), torch.ones(1, 3, dtype=torch.long))


def test_known_answer(search_of: SearchOf) -> None:
    """Products of a table of probabilities; over the legal children alone, those of token 2 are shared out."""
    table = torch.zeros(5, 5)
    table[0, 3], table[0, 4], table[0, 2] = 0.6, 0.3, 0.1
    table[3, END], table[3, 4] = 0.3, 0.7
    table[4, END], table[4, 2] = 0.9, 0.1
    trie = Trie.build([(3, 4), (4,), (3,)], end_token=END)
    answers = {"vocabulary": [0.6 * 0.7 * 0.9, 0.3 * 0.9, 0.6 * 0.3], "trie": [2 / 3 * 0.7, 1 / 3, 2 / 3 * 0.3]}
    for mode, probabilities in answers.items():
        search = search_of(Bigrams(table.clamp(min=1e-9).log()), trie, beams=3, scores=mode)
        assert_same(as_answer(search(*ONE_USER)), [list(enumerate(np.log(probabilities).tolist()))])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("beams", [1, 4, 9])
def test_ties_go_by_item_number(search_of: SearchOf, mode: Any, beams: int) -> None:
    """With equal scores everywhere, the items with the smallest ids must come out, in their order."""
    ids = list(itertools.product(range(2, 5), repeat=3))
    ids = [ids[place] for place in np.random.default_rng(1).permutation(len(ids))]
    search = search_of(Bigrams(torch.zeros(6, 6)), Trie.build(ids, end_token=END), beams=beams, scores=mode)
    assert [item for item, _ in as_answer(search(*ONE_USER))[0]] == list(range(beams))


@pytest.mark.parametrize(("seen", "left"), [([0, 0], [1, 2]), ([1, 1], [0, 2])])
def test_an_item_seen_twice_is_excluded_as_if_seen_once(search_of: SearchOf, seen: list[int], left: list[int]) -> None:
    """Prevents purchases counted for items: one that was bought again would come out, its neighbour be lost for it."""
    trie = Trie.build([(2, 3), (2, 4), (5, 3)], end_token=END)
    search = search_of(Bigrams(torch.zeros(6, 6)), trie, beams=3)
    assert [item for item, _ in as_answer(search(*ONE_USER, excluded=[seen]))[0]] == left


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
def test_fewer_legal_items_than_beams(make_model: MakeModel, search_of: SearchOf, kind: str, mode: Any) -> None:
    """Fillers are how illegal items get out elsewhere; here there are simply fewer results."""
    ids = make_ids(4, seed=9)
    search = search_of(
        model_over(make_model(VOCABULARY, kind=kind)), Trie.build(ids, end_token=END), beams=500, scores=mode
    )
    hits = search(*make_prompts(3), excluded=[[], [0, 2], [0, 1, 2, 3]])
    assert [sorted(item for item, _ in row) for row in as_answer(hits)] == [[0, 1, 2, 3], [1, 3], []]
    assert bool((hits.scores[hits.items < 0] == float("-inf")).all())


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "ids", [[(7,)], [tuple([5] * 40)], [(5,), (5, 5), (5, 5, 5)]], ids=["one", "chain", "prefixes"]
)
def test_degenerate_tables(
    make_model: MakeModel,
    search_of: SearchOf,
    kind: str,
    mode: Any,
    ids: list[tuple[int, ...]],
) -> None:
    """One item, one long chain, nothing but prefixes: every item comes out once."""
    search = search_of(
        model_over(make_model(VOCABULARY, kind=kind)), Trie.build(ids, end_token=END), beams=3, scores=mode
    )
    assert sorted(item for item, _ in as_answer(search(*make_prompts(1)))[0]) == list(range(len(ids)))


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
def test_scores_are_float32_under_autocast(make_model: MakeModel, search_of: SearchOf, kind: str, mode: Any) -> None:
    """Validation on a GPU runs the model in bf16; sums of log-probabilities in bf16 would tie by rounding."""
    search = search_of(
        model_over(make_model(VOCABULARY, kind=kind)),
        Trie.build(make_ids(60), end_token=END),
        beams=9,
        scores=mode,
    )
    exact = search(*make_prompts(3))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = search(*make_prompts(3))
    assert rounded.scores.dtype == torch.float32
    torch.testing.assert_close(rounded.scores[:, 0], exact.scores[:, 0], atol=0.5, rtol=0.0)


@BOTH_FAMILIES
@pytest.mark.parametrize("mode", MODES)
def test_scores_are_float32_with_weights_in_bf16(
    make_model: MakeModel, search_of: SearchOf, kind: str, mode: Any
) -> None:
    """Weights may be bf16 to save a GPU's memory; the sums must not be, and the best items stay about the same."""
    trie = Trie.build(make_ids(60), end_token=END)
    settings: dict[str, Any] = {"beams": 20, "scores": mode}
    rounded, exact = (
        search_of(model_over(make_model(VOCABULARY, kind=kind, dtype=dtype)), trie, **settings)(*make_prompts(3))
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert rounded.scores.dtype == torch.float32
    torch.testing.assert_close(rounded.scores[:, 0], exact.scores[:, 0], atol=0.5, rtol=0.0)
    for found, wanted in zip(rounded.items.tolist(), exact.items.tolist(), strict=True):
        assert len(set(found) & set(wanted)) >= 15


@pytest.mark.parametrize("mode", MODES)
def test_threads_share_the_users(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    """A group of users on each thread: no answer may move to another user, and torch keeps its threads."""
    monkeypatch.setattr(decode, "_GROUP", 0)  # groups of 8
    trie = Trie.build(make_ids(60), end_token=END)
    search = BeamSearch(model_over(make_model(VOCABULARY)), trie, beams=5, scores=mode)
    input_ids, mask = make_prompts(28)
    excluded = [list(range(user)) for user in range(28)]
    alone = search(input_ids, mask, excluded=excluded)
    torch.set_num_threads(2)
    try:
        shared = search(input_ids, mask, excluded=excluded)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(shared.items, alone.items) and torch.equal(shared.scores, alone.scores)


@BOTH_FAMILIES
def test_no_users_no_answers(make_model: MakeModel, search_of: SearchOf, kind: str) -> None:
    """A rank without users must not crash the others."""
    search = search_of(model_over(make_model(VOCABULARY, kind=kind)), Trie.build([(3,)], end_token=END), beams=2)
    assert search(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 4, dtype=torch.long)).items.shape == (0, 2)


@BOTH_FAMILIES
def test_settings_out_of_bounds_are_refused(make_model: MakeModel, search_of: SearchOf, kind: str) -> None:
    """A table of another tokenizer would otherwise index past the embedding, or quietly write other words."""
    model = model_over(make_model(VOCABULARY, kind=kind))
    with pytest.raises(BadInput, match="4 results of 3 beams"):
        search_of(model, Trie.build([(3,)], end_token=END), beams=3, results=4)
    with pytest.raises(BadInput, match=f"token {VOCABULARY}, the model has {VOCABULARY}"):
        search_of(model, Trie.build([(VOCABULARY,)], end_token=END), beams=3)
    search_of(model, Trie.build([(VOCABULARY - 1,)], end_token=END), beams=3)
