"""Every family's decoding step equals the library's forward; vectors enter where they are placed."""

from __future__ import annotations

import pytest
import torch
from transformers import PegasusConfig, PegasusForConditionalGeneration

from components.errors import BadInput
from components.networks.interface import LanguageModel, Placed
from tests.networks.causal_models import make_model, model_over
from tests.networks.seq2seq_models import SEQ2SEQ_KINDS, make_bart

BOTH_FAMILIES = pytest.mark.parametrize("kind", ["t5", "bart", "llama"])


def prompts(users: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(users)
    input_ids = torch.randint(3, vocabulary, (users, 9))
    mask = (torch.arange(9) < torch.arange(9, 9 - users, -1)[:, None]).long()
    return input_ids * mask, mask


def logits_of(model: LanguageModel, hidden: torch.Tensor) -> torch.Tensor:
    return hidden.float() @ model.output_rows(torch.arange(model.vocabulary_size)).T


@pytest.mark.parametrize("kind", SEQ2SEQ_KINDS)
def test_steps_equal_the_forward_of_the_library(kind: str) -> None:
    """Beams change places, shrink, take several tokens at once: a wrong slot, position or padding shows here."""
    library = make_model(30, kind=kind)
    model = model_over(library)
    input_ids, mask = prompts(3, 30)
    cache = model.prefill(input_ids, mask, capacity=40)
    written = torch.empty(3, 1, 0, dtype=torch.long)
    plan = [(1, 1), (4, 1), (4, 1), (2, 1), (3, 3), (2, 2)]
    before = 1
    for beams, length in plan:
        tokens = torch.randint(0, 30, (3, beams, length))
        parents = torch.randint(0, before, (3, beams))
        logits = logits_of(model, model.step(cache, tokens, parents))
        written = torch.cat([written.gather(1, parents[:, :, None].expand(-1, -1, written.shape[2])), tokens], 2)
        expected = library(
            input_ids=input_ids.repeat_interleave(beams, 0),
            attention_mask=mask.repeat_interleave(beams, 0),
            decoder_input_ids=written.flatten(0, 1),
        ).logits.unflatten(0, (3, beams))[:, :, -length:]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        before = beams


@BOTH_FAMILIES
def test_selected_users_go_on_alone(kind: str) -> None:
    """Finished users leave the batch; the others must not notice."""
    model = model_over(make_model(30, kind=kind))
    input_ids, mask = prompts(3, 30)
    tokens, parents = torch.randint(0, 30, (3, 2, 1)), torch.zeros(3, 2, dtype=torch.long)
    whole = model.prefill(input_ids, mask, capacity=8)
    model.step(whole, torch.full((3, 1, 1), model.start_token), parents[:, :1])
    model.step(whole, tokens, parents)
    kept = torch.tensor([2, 0])
    part = model.select(whole, kept)
    swapped = torch.tensor([[1, 0]] * 3)
    expected = model.step(whole, tokens, swapped)[kept]
    torch.testing.assert_close(model.step(part, tokens[kept], swapped[kept]), expected, atol=1e-6, rtol=1e-5)


@BOTH_FAMILIES
@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_normaliser_is_the_log_sum_exp(kind: str, rows: int) -> None:
    """It is summed up in blocks; large logits overflow without a running maximum, a lost block shifts every score."""
    model = model_over(make_model(700, kind=kind))
    hidden = torch.randn(rows, model.output_rows(torch.tensor([0])).shape[1]) * 100
    expected = logits_of(model, hidden).logsumexp(1)
    torch.testing.assert_close(model.normaliser(hidden), expected)


@BOTH_FAMILIES
def test_embeddings_stand_in_for_their_tokens(kind: str) -> None:
    """Images and graph nodes enter as vectors: prompts that hold some must be read as those of ids are."""
    model = model_over(make_model(30, kind=kind))
    input_ids, mask = prompts(3, 30)
    tokens, parents = torch.tensor([[[4], [5]]] * 3), torch.zeros(3, 2, dtype=torch.long)

    def read(prompt: torch.Tensor) -> torch.Tensor:
        cache = model.prefill(prompt, mask, capacity=3)
        model.step(cache, torch.full((3, 1, 1), model.start_token), parents[:, :1])
        return model.step(cache, tokens, parents)

    with torch.no_grad():
        torch.testing.assert_close(read(model.embed(input_ids)), read(input_ids))
        labels = torch.tensor([[5, 6, 1], [7, 1, -100], [1, -100, -100]])
        hidden = (model.hidden_states(prompt, mask, labels) for prompt in (model.embed(input_ids), input_ids))
        torch.testing.assert_close(*hidden)


@BOTH_FAMILIES
def test_placed_vectors_take_the_places_of_tokens(kind: str) -> None:
    """Prevents a vector one place off or in another row, and one that gets no gradient."""
    model = model_over(make_model(30, kind=kind))
    input_ids, _ = prompts(3, 30)
    rows, columns, which = torch.tensor([0, 0, 2]), torch.tensor([1, 2, 4]), torch.tensor([1, 0, 1])
    vectors = torch.randn(2, 16, requires_grad=True)
    found = model.embed(input_ids, Placed(rows, columns, vectors, which))
    expected = model.embed(input_ids).detach().clone()
    for row, column, number in zip(rows, columns, which, strict=True):
        expected[row, column] = vectors[number].detach()
    assert torch.equal(found.detach(), expected)
    found.sum().backward()
    assert vectors.grad is not None and vectors.grad.tolist() == [[1.0] * 16, [2.0] * 16]


@pytest.mark.parametrize("rows_at_once", [1, 2])
@BOTH_FAMILIES
def test_prompts_read_in_parts_are_those_read_together(kind: str, rows_at_once: int) -> None:
    """Prevents rows that change places and padding that is read where a few are read at a time."""
    model = model_over(make_model(30, kind=kind))
    input_ids, mask = prompts(3, 30)
    start = torch.full((3, 1, 1), model.start_token), torch.zeros(3, 1, dtype=torch.long)
    tokens = torch.tensor([[[4, 5]]] * 3), torch.zeros(3, 1, dtype=torch.long)
    found = []
    for size in (0, rows_at_once):
        cache = model.prefill(input_ids, mask, capacity=3, rows_at_once=size)
        found.append(torch.cat([model.step(cache, *start), model.step(cache, *tokens)], 2))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", [*SEQ2SEQ_KINDS, "llama"])
def test_logits_of_a_step_are_those_of_its_rows(kind: str) -> None:
    """Prevents a scale or a bias that one of the two ways from hidden caches to logits forgets."""
    model = model_over(make_model(30, kind=kind))
    cache = model.prefill(*prompts(3, 30), capacity=1)
    hidden = model.step(cache, torch.full((3, 1, 1), model.start_token), torch.zeros(3, 1, dtype=torch.long))
    some, expected = torch.tensor([7, 3, 20]), logits_of(model, hidden.flatten(0, 2))
    with torch.no_grad():
        torch.testing.assert_close(model.step_logits()(hidden.flatten(0, 2)), expected)
        torch.testing.assert_close(model.step_logits(some)(hidden.flatten(0, 2)), expected[:, some])


@BOTH_FAMILIES
def test_steps_run_under_autocast(kind: str) -> None:
    """Training on a GPU validates in bf16: caches of another type than the projections would stop it."""
    model = model_over(make_model(30, kind=kind))
    tokens, parents = torch.randint(0, 30, (3, 1, 1)), torch.zeros(3, 1, dtype=torch.long)

    def hidden() -> torch.Tensor:
        cache = model.prefill(*prompts(3, 30), capacity=2)
        model.step(cache, torch.full((3, 1, 1), model.start_token), parents)
        return model.step(cache, tokens, parents)

    exact = hidden()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = hidden()
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


def test_too_few_positions_are_refused() -> None:
    """A learned position beyond the table is an index error deep inside, on a GPU one that kills the process."""
    model = model_over(make_bart("bart", 30, positions=8))
    input_ids, mask = prompts(3, 30)
    with pytest.raises(BadInput, match="9 tokens, the model has 8 positions"):
        model.prefill(input_ids, mask, capacity=9)
    with pytest.raises(BadInput, match="9 tokens"):
        model.hidden_states(input_ids, mask, torch.tensor([[5, 1]] * 3))
    cache = model.prefill(input_ids[:, :8], mask[:, :8], capacity=9)
    model.step(cache, torch.full((3, 1, 8), 4), torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(BadInput, match="9 tokens"):
        model.step(cache, torch.full((3, 1, 1), 4), torch.zeros(3, 1, dtype=torch.long))


def test_other_architectures_are_refused() -> None:
    """A Pegasus has other layers under other names; the step would fail deep inside, or worse, not fail."""
    sizes = {"vocab_size": 9, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
    config = PegasusConfig(**sizes, encoder_attention_heads=2, decoder_attention_heads=2)
    with pytest.raises(BadInput, match="pegasus"):
        model_over(PegasusForConditionalGeneration(config))
