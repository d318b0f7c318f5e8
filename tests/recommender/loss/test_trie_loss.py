"""The loss over the trie: a softmax among the children of each node, which is minus the score of the beam search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.recommender.batches.batch import IGNORED, Batch, batch_of
from components.recommender.batches.samples import Samples
from components.recommender.batches.windows import Windows
from components.recommender.loss.batch_loss import batch_loss
from components.recommender.loss.trie_loss import trie_loss
from components.recommender.prompts.phrasings import prompts_of
from components.recommender.search.search import BeamSearch
from components.recommender.trie import choices as choosing
from components.recommender.trie.choices import Choices, Paths
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged
from tests.networks.causal_models import model_over
from tests.recommender.references import END
from tests.recommender.search.decoders import VOCABULARY, make_ids, make_prompts

IDS = make_ids(60)
PATHS = Paths.of(Trie.build(IDS, end_token=END))


def legal_after(prefix: tuple[int, ...]) -> list[int]:
    """Slow and obvious: what may follow the beginning of an ID."""
    whole = [(*each, END) for each in IDS]
    return sorted({each[len(prefix)] for each in whole if each[: len(prefix)] == prefix and len(each) > len(prefix)})


def slow_loss(hidden: Tensor, weight: Tensor, items: list[int], smoothing: float, bias: Tensor | None) -> Tensor:
    """The sum over all tokens of all IDs, one softmax at a time; hidden [rows, T, d]."""
    total = hidden.new_zeros(())
    for row, item in enumerate(items):
        written = (*IDS[item], END)
        for step, token in enumerate(written):
            legal = legal_after(written[:step])
            logits = weight[legal] @ hidden[row, step] + (0.0 if bias is None else bias[legal])
            logs = logits.log_softmax(0)
            total = total - (1 - smoothing) * logs[legal.index(token)] - smoothing * logs.mean()
    return total


def choices_of(items: list[int], width: int = 9) -> Choices:
    return PATHS.of_labels(np.array(items, dtype=np.int64), width)


@pytest.mark.parametrize("options", [1, 7, 1 << 15])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradients_are_the_slow_ones(
    options: int, smoothing: float, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong sibling among the options, or a gradient that misses one, would still train, only worse."""
    monkeypatch.setattr(choosing, "_OPTIONS", options)
    generator = torch.Generator().manual_seed(3)
    items = torch.randint(len(IDS), (20,), generator=generator).tolist()
    hidden = torch.randn(20, 9, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(VOCABULARY, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(VOCABULARY, dtype=torch.float64, generator=generator) if biased else None
    chosen = choices_of(items)
    assert len(chosen.blocks) > 1 or options > 7
    fast = trie_loss(hidden, weight, chosen, bias=bias, label_smoothing=smoothing)
    slow = slow_loss(hidden, weight, items, smoothing, bias)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-10)
    for found, expected in zip(
        torch.autograd.grad(3.0 * fast, (hidden, weight)),
        torch.autograd.grad(3.0 * slow, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_only_choices_are_counted() -> None:
    """The count is the divisor of the loss, in batches of which every rank has a part."""
    items = [0, 5, 5, 59]
    several = sum(
        len(legal_after((*IDS[item], END)[:step])) > 1 for item in items for step in range(len(IDS[item]) + 1)
    )
    assert choices_of(items).count == several < sum(len(IDS[item]) + 1 for item in items)
    assert choices_of([]).count == 0


@pytest.mark.parametrize("kind", ["t5", "bart", "llama"])
def test_it_is_minus_the_score_of_the_beam_search(make_model: Any, kind: str) -> None:
    """What is taught must be what is asked for: any difference would be learned and never seen."""
    model = model_over(make_model(VOCABULARY, kind=kind))
    input_ids, mask = make_prompts(5)
    trie = Trie.build(IDS, end_token=END)
    hits = BeamSearch(model, trie, beams=60, scores="trie")(input_ids, mask)
    items = hits.items[:, 0].tolist()
    labels = torch.full((5, 9), IGNORED)
    for row, item in enumerate(items):
        labels[row, : len(IDS[item]) + 1] = torch.tensor([*IDS[item], END])
    chosen = choices_of(items)
    losses = []
    for row in range(5):
        own = choices_of([items[row]])
        batch = Batch(input_ids[row : row + 1], mask[row : row + 1], labels[row : row + 1], own.count, choices=own)
        losses.append(batch_loss(model, batch).total.item())
    np.testing.assert_allclose(losses, -hits.scores[:, 0].numpy(), atol=1e-4)
    whole = batch_loss(model, Batch(input_ids, mask, labels, chosen.count, choices=chosen))
    assert whole.count == chosen.count
    assert whole.total.item() == pytest.approx(sum(losses), rel=1e-5)


@pytest.mark.parametrize("max_history", [3, 20])
def test_histories_at_once_are_their_prefixes(tokenizer: Any, make_model: Any, max_history: int) -> None:
    """One forward over whole histories and one over each prefix: the same choices, the same loss."""
    random = np.random.default_rng(4)
    offsets, items = np.array([0, 5, 6, 13]), random.integers(len(IDS), size=13)
    pieces = prompts_of("decoder-only").tokenise(tokenizer)
    windows = Windows(Ragged(offsets, items), IDS, pieces, max_history=max_history, paths=PATHS)
    model = model_over(make_model(len(tokenizer), kind="llama"))
    at_once, one_by_one, count = 0.0, 0.0, 0
    for rows in windows.epoch(seed=1, number=0, batch_size=2):
        with torch.no_grad():
            loss = batch_loss(model, windows.collate(rows))
        at_once, count = at_once + float(loss.total), count + loss.count
        spans = rows.spans
        for first, taught, end, template in zip(spans.first, spans.taught, spans.end, rows.templates, strict=True):
            for place in range(taught, end):
                prompt = pieces.build(int(template), [IDS[item] for item in items[first:place]], max_tokens=512)
                batch = batch_of([prompt], [IDS[items[place]]], end_token=END)
                batch = batch.over(PATHS.of_labels(items[place : place + 1], batch.labels.shape[1]))
                with torch.no_grad():
                    one_by_one += float(batch_loss(model, batch).total)
    assert at_once == pytest.approx(one_by_one, rel=1e-5)
    assert count == choices_of(items.tolist()).count


def test_samples_carry_the_choices_of_their_targets(tokenizer: Any) -> None:
    """Choices of another item's ID would be taught after the right prompt."""
    offsets, items = np.array([0, 4, 9]), np.arange(9) * 5
    pieces = prompts_of("encoder-decoder").tokenise(tokenizer)
    samples = Samples(Ragged(offsets, items), IDS, pieces, end_token=END, max_history=20, paths=PATHS)
    for rows in samples.epoch(seed=1, number=0, batch_size=4):
        batch = samples.collate(rows)
        expected = choices_of(items[rows.targets].tolist(), batch.labels.shape[1])
        assert batch.choices is not None and batch.target_tokens == expected.count
        said = batch.choices.options[batch.choices.chosen]
        assert said.tolist() == batch.labels.flatten()[batch.choices.later].tolist()
        first = batch.choices.opening[batch.choices.first_labels]
        assert first.tolist() == batch.labels.flatten()[batch.choices.first].tolist()
        torch.testing.assert_close(batch.choices.options, expected.options)


def test_in_bf16_it_is_the_same_up_to_rounding(make_model: Any) -> None:
    """Autocast hands over rounded states: sums in bf16 would lose small options."""
    model = model_over(make_model(VOCABULARY, kind="llama"))
    input_ids, mask = make_prompts(5)
    items = [1, 2, 3, 40, 50]
    labels = torch.full((5, 9), IGNORED)
    for row, item in enumerate(items):
        labels[row, : len(IDS[item]) + 1] = torch.tensor([*IDS[item], END])
    batch = Batch(input_ids, mask, labels, choices_of(items).count, choices=choices_of(items))
    exact = batch_loss(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = batch_loss(model, batch)
    assert rounded.total.dtype is torch.float32
    assert rounded.total.item() == pytest.approx(exact.total.item(), rel=0.02)
