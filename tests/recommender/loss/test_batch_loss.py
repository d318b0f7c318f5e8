"""The loss of a batch equals the library's, text by text, for every family."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from components.networks.causal import Causal
from components.recommender.batches.batch import IGNORED, Batch
from components.recommender.loss.batch_loss import batch_loss
from tests.networks.causal_models import CAUSAL_KINDS, END, make_causal, make_model, model_over
from tests.networks.test_causal import LENGTHS, VOCABULARY, alone, texts
from tests.networks.test_language_model import BOTH_FAMILIES, prompts


def make_batch(vocabulary: int) -> Batch:
    input_ids, mask = prompts(3, vocabulary)
    labels = torch.tensor([[5, 6, 1], [7, 1, IGNORED], [1, IGNORED, IGNORED]])
    return Batch(input_ids, mask, labels, 6)


@pytest.mark.parametrize("kind", ["t5", "bart"])  # mBART's own labels begin with a language
def test_loss_is_a_sum_with_its_count(kind: str) -> None:
    """Ranks with unequal shares average wrongly if each divides by its own count; labels are shifted as at home."""
    library, batch = make_model(30, kind=kind), make_batch(30)
    loss = batch_loss(model_over(library), batch)
    expected = library(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss
    torch.testing.assert_close(loss.total / loss.count, expected)


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_loss_after_prompts_is_that_of_each_text_alone(kind: str) -> None:
    """A sum over labels that includes padding, or leaves the end token out, would teach other IDs."""
    library, (input_ids, mask) = make_causal(kind, VOCABULARY), texts()
    targets = [[5, 6, END], [7, END], [8, 9, 10, END]]
    labels = torch.tensor([target + [IGNORED] * (4 - len(target)) for target in targets])
    with torch.no_grad():
        loss = batch_loss(Causal(library, end_token=END), Batch(input_ids, mask, labels, 9))
    expected = 0.0
    for row, (size, target) in enumerate(zip(LENGTHS, targets, strict=True)):
        log = alone(library, input_ids[row, :size].tolist() + target)
        expected -= sum(float(log[size - 1 + place, token]) for place, token in enumerate(target))
    assert loss.count == 9
    assert float(loss.total) == pytest.approx(expected, abs=1e-4)


@BOTH_FAMILIES
def test_padding_of_labels_bears_no_loss(kind: str) -> None:
    """More padding must not change the loss, smoothed or not."""
    model, batch = model_over(make_model(30, kind=kind)), make_batch(30)
    wider = Batch(batch.input_ids, batch.attention_mask, functional.pad(batch.labels, (0, 4), value=IGNORED), 6)
    for smoothing in (0.0, 0.1):
        narrow, wide = (batch_loss(model, one, label_smoothing=smoothing).total for one in (batch, wider))
        torch.testing.assert_close(narrow, wide)


def test_label_smoothing_is_that_of_torch() -> None:
    """A share of the target's mass is spread; the unlabelled positions must not get any of it."""
    library, (input_ids, _) = make_causal("llama", VOCABULARY), texts()
    labels = torch.full_like(input_ids, IGNORED)
    labels[0, 2:5] = torch.tensor([4, 5, END])
    batch = Batch(input_ids, torch.ones_like(input_ids), labels, 3, inline=True)
    loss = batch_loss(Causal(library, end_token=END), batch, label_smoothing=0.2)
    logits = library(input_ids=input_ids).logits[0, 2:5]
    expected = functional.cross_entropy(logits, labels[0, 2:5], reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(loss.total, expected)


@BOTH_FAMILIES
def test_embeddings_stand_in_for_the_prompts(kind: str) -> None:
    """Prevents soft IDs that are put together and not read."""
    model, batch = model_over(make_model(30, kind=kind)), make_batch(30)
    embeddings = model.embed(batch.input_ids)
    hard = batch_loss(model, batch).total
    torch.testing.assert_close(batch_loss(model, batch, embeddings=embeddings).total, hard)
    assert not torch.allclose(batch_loss(model, batch, embeddings=embeddings.flip(1)).total, hard)
