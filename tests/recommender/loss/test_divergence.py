"""The divergence from a model before: against PyTorch's own, with gradients; over the vocabulary and over the trie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.recommender.batches.batch import IGNORED
from components.recommender.loss.divergence import output_divergence, trie_divergence
from components.recommender.trie.choices import Paths
from components.recommender.trie.trie import Trie
from tests.recommender.references import END
from tests.recommender.search.decoders import VOCABULARY, make_ids

IDS = make_ids(60)
ITEMS = [3, 17, 17, 41]


def two_models(d: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden [rows, T, d] and weight [vocabulary, d], now (with gradient) and before."""
    torch.manual_seed(5)
    shapes = ((len(ITEMS), 9, d), (VOCABULARY, d)) * 2
    now, weight, before, before_weight = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return now.requires_grad_(), weight.requires_grad_(), before, before_weight


def kl(now: Tensor, before: Tensor) -> Tensor:
    return functional.kl_div(now.log_softmax(-1), before.log_softmax(-1), reduction="sum", log_target=True)


def same(total: Tensor, wanted: Tensor, hidden: Tensor, weight: Tensor) -> None:
    assert float(total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)
    found = torch.autograd.grad(3.0 * total, (hidden, weight))
    for own, slow in zip(found, torch.autograd.grad(3.0 * wanted, (hidden, weight)), strict=True):
        torch.testing.assert_close(own, slow)


@pytest.mark.parametrize("cells", [64, 1 << 21])
def test_over_the_vocabulary_it_is_pytorchs(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a gradient that pulls elsewhere than to the model before, or counts padding."""
    monkeypatch.setattr("components.recommender.loss.output_loss._CELLS_CPU", cells)
    hidden, weight, before, before_weight = two_models()
    labels = torch.full(hidden.shape[:2], IGNORED)
    labels[:, :4] = 5
    bias = torch.randn(VOCABULARY, dtype=torch.float64)
    total = output_divergence(hidden, weight, before, before_weight, labels, count=16, bias=bias)
    same(total, kl(hidden[:, :4] @ weight.T + bias, before[:, :4] @ before_weight.T), hidden, weight)


@pytest.mark.parametrize("options", [7, 1 << 15])
def test_over_the_trie_it_is_that_of_each_choice(options: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a divergence over tokens that no ID can go on with."""
    monkeypatch.setattr("components.recommender.trie.choices._OPTIONS", options)
    hidden, weight, before, before_weight = two_models()
    choices = Paths.of(Trie.build(IDS, end_token=END)).of_labels(np.array(ITEMS), 9)
    whole = [(*each, END) for each in IDS]
    wanted = hidden.new_zeros(())
    for row, item in enumerate(ITEMS):
        for step in range(len(whole[item])):
            prefix = whole[item][:step]
            legal = sorted({each[step] for each in whole if each[:step] == prefix and len(each) > step})
            now, then = hidden[row, step] @ weight[legal].T, before[row, step] @ before_weight[legal].T
            wanted = wanted + kl(now, then)
    same(trie_divergence(hidden, weight, before, before_weight, choices), wanted, hidden, weight)


def test_a_model_does_not_diverge_from_itself() -> None:
    hidden, weight, _, _ = two_models()
    labels = torch.zeros(hidden.shape[:2], dtype=torch.int64)
    total = output_divergence(hidden, weight, hidden, weight, labels, count=labels.numel())
    assert float(total.detach()) == 0.0
    assert not any(gradient.abs().max() > 1e-12 for gradient in torch.autograd.grad(total, (hidden, weight)))
