"""Diverse beam search against the paper's algorithm in plain Python, and against Hugging Face's beam search."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from components.textid.writing.diverse import propose
from tests.networks.causal_models import model_over
from tests.textid.conftest import padded, tiny_t5
from tests.textid.writing.diverse_reference import propose_slowly

TEXTS = [[5, 9, 12, 7, 1], [8, 8, 3, 1], [20, 4, 15, 6, 11, 19, 1], [3, 1]]
WORDS = set(range(3, 20))


def allowed_mask(words: set[int] = WORDS, size: int = 23) -> torch.Tensor:
    return torch.tensor([token in words for token in range(size)])


def proposals(model: PreTrainedModel, rows: list[list[int]], **settings) -> list[list[tuple[tuple[int, ...], float]]]:
    """What `propose` found, as plain lists without padding."""
    width = settings.pop("width", None)
    tokens, scores = propose(model_over(model), *padded(rows, width), pad_id=0, allowed=allowed_mask(), **settings)
    return [
        [
            (tuple(token for token in sequence if token != 0), score)
            for sequence, score in zip(item_tokens, item_scores, strict=True)
            if score > float("-inf")
        ]
        for item_tokens, item_scores in zip(tokens.tolist(), scores.tolist(), strict=True)
    ]


def assert_same(found: list, expected: list) -> None:  # type: ignore[type-arg]
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_equals_the_slow_reference(tiny_model: PreTrainedModel, groups: int, penalty: float) -> None:
    """Prevents penalties that leak between items, beams that lose their cache, and ends counted twice."""
    settings = {"candidates": 6, "groups": groups, "diversity_penalty": penalty, "max_tokens": 4}
    found = proposals(tiny_model, TEXTS, **settings)
    for row, text in enumerate(TEXTS):
        assert_same(found[row], propose_slowly(tiny_model, text, allowed=WORDS, **settings))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_one_group_is_the_beam_search_of_hugging_face(tiny_model: PreTrainedModel, length_penalty: float) -> None:
    """Prevents a beam search of our own invention: tokens and scores equal `generate`'s, end by end."""
    beams, max_tokens = 5, 4

    def legal(_batch: int, written: torch.Tensor) -> list[int]:
        length = len(written) - 1
        return sorted(WORDS) if length == 0 else [1] if length == max_tokens else [1, *sorted(WORDS)]

    ids, mask = padded(TEXTS)
    reference = tiny_model.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=max_tokens + 1,
        prefix_allowed_tokens_fn=legal,
        length_penalty=length_penalty,
        early_stopping="never",
        forced_bos_token_id=None,
        forced_eos_token_id=None,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    found = proposals(
        tiny_model,
        TEXTS,
        candidates=beams,
        groups=1,
        diversity_penalty=0.0,
        max_tokens=4,
        length_penalty=length_penalty,
    )
    sequences = [[token for token in row[1:] if token not in (0, 1)] for row in reference.sequences.tolist()]
    scores = reference.sequences_scores.tolist()
    for row in range(len(TEXTS)):
        part = slice(row * beams, (row + 1) * beams)
        assert_same(found[row], list(zip(map(tuple, sequences[part]), scores[part], strict=True)))


def test_a_batch_equals_single_items_and_padding_changes_nothing(tiny_model: PreTrainedModel) -> None:
    """Prevents IDs that depend on which items happened to share a batch."""
    settings = {"candidates": 4, "groups": 2, "diversity_penalty": 0.5, "max_tokens": 5}
    together = proposals(tiny_model, TEXTS, width=16, **settings)
    for row, text in enumerate(TEXTS):
        assert_same(together[row], proposals(tiny_model, [text], **settings)[0])


def test_writes_only_what_is_allowed_never_nothing_and_nothing_twice(tiny_model: PreTrainedModel) -> None:
    """Prevents padding, marks and empty sequences as candidates, and one candidate that fills two places."""
    for found in proposals(tiny_model, TEXTS, candidates=8, groups=4, diversity_penalty=0.1, max_tokens=3):
        sequences = [tokens for tokens, _ in found]
        assert all(sequence and WORDS.issuperset(sequence) and len(sequence) <= 3 for sequence in sequences)
        assert len(set(sequences)) == len(sequences)


def test_the_penalty_makes_candidates_differ() -> None:
    """Prevents a penalty that is applied and has no effect: four groups must start with four different words."""
    model = tiny_t5()
    same = proposals(model, TEXTS, candidates=4, groups=4, diversity_penalty=0.0, max_tokens=3)
    different = proposals(model, TEXTS, candidates=4, groups=4, diversity_penalty=100.0, max_tokens=3)
    assert all(len(found) == 1 for found in same)
    assert all(len({tokens[0] for tokens, _ in found}) == 4 for found in different)


def test_fewer_sequences_than_candidates_give_fewer_results() -> None:
    """Prevents fillers: with two words and one step there are two sequences, whatever is asked for."""
    tokens, scores = propose(
        model_over(tiny_t5()),
        *padded(TEXTS),
        candidates=6,
        groups=1,
        diversity_penalty=0.0,
        max_tokens=1,
        pad_id=0,
        allowed=allowed_mask({5, 6}),
    )
    assert (scores > float("-inf")).sum(dim=1).tolist() == [2] * len(TEXTS)
    assert not tokens[scores == float("-inf")].any()


def test_groups_must_divide_the_candidates() -> None:
    """Prevents a silent rounding of the group size."""
    with pytest.raises(ValueError, match="do not divide"):
        proposals(tiny_t5(), TEXTS, candidates=5, groups=2, diversity_penalty=0.0, max_tokens=2)


def test_an_output_layer_of_its_own_is_read() -> None:
    """Prevents a step that scales hidden states as those of tied embeddings are: T5 v1.1 and mT5 have untied ones."""
    model = tiny_t5()
    model.config.scale_decoder_outputs = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    settings = {"candidates": 6, "groups": 3, "diversity_penalty": 0.7, "max_tokens": 6}
    for found, text in zip(proposals(model, TEXTS, **settings), TEXTS, strict=True):
        assert_same(found, propose_slowly(model, text, allowed=WORDS, **settings))
