"""Decoder-only models: decoding and hidden caches equal the library's plain forwards, one text at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, Qwen2Config

from components.errors import BadInput
from components.networks.causal import Causal
from components.networks.families import check_family
from tests.networks.causal_models import CAUSAL_KINDS, END, make_causal

VOCABULARY, LENGTHS = 30, (9, 4, 6)


def texts() -> tuple[Tensor, Tensor]:
    """Three prompts of different lengths, each closed by the end token, padded on the right."""
    torch.manual_seed(1)
    input_ids = torch.randint(3, VOCABULARY, (len(LENGTHS), max(LENGTHS)))
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    input_ids[torch.arange(len(LENGTHS)), torch.tensor(LENGTHS) - 1] = END
    return input_ids * mask, mask


def alone(model: Any, tokens: list[int]) -> Tensor:
    """Log-probabilities [n, vocabulary] after each token of one text, by the library: no padding, no cache."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_steps_equal_the_forward_of_the_library(kind: str) -> None:
    """Beams change places, shrink, take several tokens at once: a wrong slot, position or padding shows here."""
    library = make_causal(kind, VOCABULARY)
    model = Causal(library, end_token=END)
    input_ids, mask = texts()
    cache = model.prefill(input_ids, mask, capacity=40)
    users = len(LENGTHS)
    hidden = model.step(cache, torch.full((users, 1, 1), END), torch.zeros(users, 1, dtype=torch.long))
    written: list[list[list[int]]] = [[[]] for _ in LENGTHS]
    for beams, length in [(None, None), (4, 1), (4, 1), (2, 1), (3, 3), (2, 2)]:
        if beams is not None and length is not None:
            tokens = torch.randint(0, VOCABULARY, (users, beams, length))
            parents = torch.randint(0, len(written[0]), (users, beams))
            hidden = model.step(cache, tokens, parents)
            written = [
                [written[user][int(parents[user, beam])] + tokens[user, beam].tolist() for beam in range(beams)]
                for user in range(users)
            ]
        found = (hidden @ model.output_rows(torch.arange(VOCABULARY)).T).log_softmax(-1)
        for user, size in enumerate(LENGTHS):
            for beam, sequence in enumerate(written[user]):
                expected = alone(library, input_ids[user, :size].tolist() + sequence)[-hidden.shape[2] :]
                torch.testing.assert_close(found[user, beam], expected, atol=1e-5, rtol=1e-5)


def test_places_without_a_token_hold_numbers() -> None:
    """Prevents NaN in every score: masked or not, what fresh memory holds is multiplied by a weight of zero."""
    lengths = torch.tensor([*[3] * 8, 20])  # the first eight are read together, and no wider than they are
    mask = (torch.arange(20) < lengths[:, None]).long()
    model = Causal(make_causal("llama", VOCABULARY), end_token=END)
    try:
        torch.use_deterministic_algorithms(True)
        assert bool(torch.empty(9).isnan().all())  # so is all fresh memory now
        cache = model.prefill(4 * mask, mask, capacity=5, rows_at_once=8)
    finally:
        torch.use_deterministic_algorithms(False)
    for part in (*cache.keys, *cache.values):
        assert bool(part[:, :, :20].isfinite().all())


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_labels_are_read_after_each_prompt_alone(kind: str) -> None:
    """Labels stand behind the padding of the batch: a position that counts the padding would change every loss."""
    library = make_causal(kind, VOCABULARY)
    model, (input_ids, mask) = Causal(library, end_token=END), texts()
    targets = [[5, 6, END], [7, END], [8, 9, 10, END]]
    labels = torch.tensor([target + [-100] * (4 - len(target)) for target in targets])
    with torch.no_grad():
        found = model.logits(model.hidden_states(input_ids, mask, labels)).log_softmax(-1)
    for row, (size, target) in enumerate(zip(LENGTHS, targets, strict=True)):
        expected = alone(library, input_ids[row, :size].tolist() + target)[size - 1 : -1]
        torch.testing.assert_close(found[row, : len(target)], expected, atol=1e-5, rtol=1e-5)


def test_too_few_positions_are_refused() -> None:
    """A learned position beyond the table is an index error deep inside; a rotary one is read as never trained."""
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, n_positions=10, bos_token_id=None)
    model = Causal(GPT2LMHeadModel(config).eval(), end_token=END)
    input_ids, mask = texts()
    cache = model.prefill(input_ids, mask, capacity=9)
    first = torch.zeros(3, 1, dtype=torch.long)
    model.step(cache, torch.full((3, 1, 1), END), first)
    model.step(cache, torch.full((3, 1, 1), 4), first)
    with pytest.raises(BadInput, match="11 tokens, the model has 10 positions"):
        model.step(cache, torch.full((3, 1, 1), 4), first)
    with pytest.raises(BadInput, match="positions"):
        model.hidden_states(input_ids, mask, torch.full((3, 3), END))


def test_what_could_not_be_decoded_is_refused() -> None:
    """Another type may keep other conventions, and a sliding window would be read as if it were none."""
    with pytest.raises(BadInput, match="gpt_neox"):
        check_family(GPTNeoXConfig(), "decoder-only", where="here")
    with pytest.raises(BadInput, match="sliding"):
        config = Qwen2Config(use_sliding_window=True, max_window_layers=0, sliding_window=4)
        check_family(config, "decoder-only", where="here")
