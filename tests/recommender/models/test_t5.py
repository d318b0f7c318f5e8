"""The recommender's own decoding step equals the library's forward; losses and soft inputs are what they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import PegasusConfig, PegasusForConditionalGeneration

from components.errors import BadInput
from components.recommender.batches.batch import IGNORED, Batch
from components.recommender.models.interface import Recommender, Soft
from tests.recommender.causal_models import recommender_over
from tests.recommender.seq2seq_models import SEQ2SEQ_KINDS, make_bart

BOTH_FAMILIES = pytest.mark.parametrize("kind", ["t5", "bart", "llama"])


def prompts(users: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(users)
    input_ids = torch.randint(3, vocabulary, (users, 9))
    mask = (torch.arange(9) < torch.arange(9, 9 - users, -1)[:, None]).long()
    return input_ids * mask, mask


def logits_of(recommender: Recommender, hidden: torch.Tensor) -> torch.Tensor:
    return hidden.float() @ recommender.output_rows(torch.arange(recommender.vocabulary_size)).T


@pytest.mark.parametrize("kind", SEQ2SEQ_KINDS)
def test_steps_equal_the_forward_of_the_library(make_model: Callable[..., Any], kind: str) -> None:
    """Beams change places, shrink, take several tokens at once: a wrong slot, position or padding shows here."""
    model = make_model(30, kind=kind)
    recommender = recommender_over(model)
    input_ids, mask = prompts(3, 30)
    state = recommender.prefill(input_ids, mask, capacity=40)
    written = torch.empty(3, 1, 0, dtype=torch.long)
    plan = [(1, 1), (4, 1), (4, 1), (2, 1), (3, 3), (2, 2)]
    before = 1
    for beams, length in plan:
        tokens = torch.randint(0, 30, (3, beams, length))
        parents = torch.randint(0, before, (3, beams))
        logits = logits_of(recommender, recommender.step(state, tokens, parents))
        written = torch.cat([written.gather(1, parents[:, :, None].expand(-1, -1, written.shape[2])), tokens], 2)
        expected = model(
            input_ids=input_ids.repeat_interleave(beams, 0),
            attention_mask=mask.repeat_interleave(beams, 0),
            decoder_input_ids=written.flatten(0, 1),
        ).logits.unflatten(0, (3, beams))[:, :, -length:]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        before = beams


@BOTH_FAMILIES
def test_selected_users_go_on_alone(make_model: Callable[..., Any], kind: str) -> None:
    """Finished users leave the batch; the others must not notice."""
    recommender = recommender_over(make_model(30, kind=kind))
    input_ids, mask = prompts(3, 30)
    tokens, parents = torch.randint(0, 30, (3, 2, 1)), torch.zeros(3, 2, dtype=torch.long)
    whole = recommender.prefill(input_ids, mask, capacity=8)
    recommender.step(whole, torch.full((3, 1, 1), recommender.start_token), parents[:, :1])
    recommender.step(whole, tokens, parents)
    kept = torch.tensor([2, 0])
    part = recommender.select(whole, kept)
    swapped = torch.tensor([[1, 0]] * 3)
    expected = recommender.step(whole, tokens, swapped)[kept]
    torch.testing.assert_close(recommender.step(part, tokens[kept], swapped[kept]), expected, atol=1e-6, rtol=1e-5)


@BOTH_FAMILIES
@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_normaliser_is_the_log_sum_exp(make_model: Callable[..., Any], kind: str, rows: int) -> None:
    """It is summed up in blocks; large logits overflow without a running maximum, a lost block shifts every score."""
    recommender = recommender_over(make_model(700, kind=kind))
    hidden = torch.randn(rows, recommender.output_rows(torch.tensor([0])).shape[1]) * 100
    expected = logits_of(recommender, hidden).logsumexp(1)
    torch.testing.assert_close(recommender.normaliser(hidden), expected)


def make_batch(vocabulary: int) -> Batch:
    input_ids, mask = prompts(3, vocabulary)
    labels = torch.tensor([[5, 6, 1], [7, 1, IGNORED], [1, IGNORED, IGNORED]])
    return Batch(input_ids, mask, labels, 6)


@pytest.mark.parametrize("kind", ["t5", "bart"])  # mBART's own labels begin with a language
def test_loss_is_a_sum_with_its_count(make_model: Callable[..., Any], kind: str) -> None:
    """Ranks with unequal shares average wrongly if each divides by its own count; labels are shifted as at home."""
    model = make_model(30, kind=kind)
    batch = make_batch(30)
    loss = recommender_over(model).loss(batch)
    expected = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss
    torch.testing.assert_close(loss.total / loss.count, expected)


@BOTH_FAMILIES
def test_padding_of_labels_bears_no_loss(make_model: Callable[..., Any], kind: str) -> None:
    """More padding must not change the loss, smoothed or not."""
    recommender = recommender_over(make_model(30, kind=kind))
    batch = make_batch(30)
    wider = Batch(batch.input_ids, batch.attention_mask, functional.pad(batch.labels, (0, 4), value=IGNORED), 6)
    for smoothing in (0.0, 0.1):
        narrow, wide = (recommender.loss(one, label_smoothing=smoothing).total for one in (batch, wider))
        torch.testing.assert_close(narrow, wide)


@BOTH_FAMILIES
def test_one_hot_soft_ids_are_hard_ids(make_model: Callable[..., Any], kind: str) -> None:
    """Splicing soft IDs off by one place, or mixing log-probabilities, breaks this equality."""
    recommender = recommender_over(make_model(30, kind=kind))
    batch = make_batch(30)
    rows, columns = torch.tensor([0, 0, 2]), torch.tensor([1, 2, 4])
    hot = functional.one_hot(batch.input_ids[rows, columns], 30).float()
    blank = batch.input_ids.index_put((rows, columns), torch.tensor(0))
    embeds = recommender.embed(blank, Soft(rows, columns, hot, torch.arange(3)))
    torch.testing.assert_close(embeds, recommender.embed(batch.input_ids))
    torch.testing.assert_close(recommender.loss(batch, inputs_embeds=embeds).total, recommender.loss(batch).total)


@BOTH_FAMILIES
def test_gradients_reach_the_probabilities(make_model: Callable[..., Any], kind: str) -> None:
    """Without them the generator phase trains nothing."""
    recommender = recommender_over(make_model(30, kind=kind))
    batch = make_batch(30)
    scores = torch.zeros(2, 30, requires_grad=True)
    soft = Soft(torch.tensor([0, 1]), torch.tensor([0, 3]), scores.softmax(-1), torch.tensor([1, 0]))
    recommender.loss(batch, inputs_embeds=recommender.embed(batch.input_ids, soft)).total.backward()
    assert scores.grad is not None and bool((scores.grad.abs().sum(1) > 0).all())


@BOTH_FAMILIES
def test_steps_run_under_autocast(make_model: Callable[..., Any], kind: str) -> None:
    """Training on a GPU validates in bf16: caches of another type than the projections would stop it."""
    recommender = recommender_over(make_model(30, kind=kind))
    tokens, parents = torch.randint(0, 30, (3, 1, 1)), torch.zeros(3, 1, dtype=torch.long)

    def hidden() -> torch.Tensor:
        state = recommender.prefill(*prompts(3, 30), capacity=2)
        recommender.step(state, torch.full((3, 1, 1), recommender.start_token), parents)
        return recommender.step(state, tokens, parents)

    exact = hidden()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = hidden()
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


def test_too_few_positions_are_refused() -> None:
    """A learned position beyond the table is an index error deep inside, on a GPU one that kills the process."""
    recommender = recommender_over(make_bart("bart", 30, positions=8))
    input_ids, mask = prompts(3, 30)
    with pytest.raises(BadInput, match="9 tokens, the model has 8 positions"):
        recommender.prefill(input_ids, mask, capacity=9)
    with pytest.raises(BadInput, match="9 tokens"):
        recommender.loss(make_batch(30))
    state = recommender.prefill(input_ids[:, :8], mask[:, :8], capacity=9)
    recommender.step(state, torch.full((3, 1, 8), 4), torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(BadInput, match="9 tokens"):
        recommender.step(state, torch.full((3, 1, 1), 4), torch.zeros(3, 1, dtype=torch.long))


def test_other_architectures_are_refused() -> None:
    """A Pegasus has other layers under other names; the step would fail deep inside, or worse, not fail."""
    sizes = {"vocab_size": 9, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
    config = PegasusConfig(**sizes, encoder_attention_heads=2, decoder_attention_heads=2)
    with pytest.raises(BadInput, match="pegasus"):
        recommender_over(PegasusForConditionalGeneration(config))
