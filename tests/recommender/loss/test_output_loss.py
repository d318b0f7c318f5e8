"""The loss in blocks against the plain one: all logits at once, and torch's own cross-entropy over them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.recommender.batches.batch import IGNORED
from components.recommender.loss import output_loss as blocks
from components.recommender.loss.output_loss import output_loss


def reference(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, smoothing: float) -> Tensor:
    """What is computed, without blocks."""
    logits = functional.linear(hidden, weight, bias).flatten(0, -2)
    return functional.cross_entropy(
        logits, labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )


def drawn(rows: int, words: int, *, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Hidden states [2, rows / 2, 6], weights, labels of which a third is ignored, and a bias."""
    torch.manual_seed(rows)
    hidden = (torch.randn(2, rows // 2, 6, dtype=dtype) * scale).requires_grad_()
    weight = torch.randn(words, 6, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, words, (2, rows // 2))
    labels[torch.rand(2, rows // 2) < 1 / 3] = IGNORED
    return hidden, weight, labels, torch.randn(words, dtype=dtype)


def taught(labels: Tensor) -> int:
    return int((labels != IGNORED).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("rows", "device"), [(2, "cpu"), (200, "cpu"), (1000, "cpu"), (1000, "cuda")])
def test_blocks_sum_up_to_the_plain_loss(
    rows: int, device: str, biased: bool, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a block that is lost or counted twice, and gradients of another loss than the one that is said."""
    monkeypatch.setattr(blocks, "_CELLS_CPU", 100 * 128)  # blocks of 128 rows
    monkeypatch.setattr(blocks, "_is_fused", lambda _: device == "cuda")  # computed here, as it would be there
    hidden, weight, labels, bias = drawn(rows, 100)
    given = bias if biased else None
    wanted = reference(hidden, weight, labels, given, smoothing)
    found = output_loss(hidden, weight, labels, count=taught(labels), bias=given, label_smoothing=smoothing)
    assert torch.allclose(found, wanted, rtol=1e-13)
    # The factor from above is the mean's, say.
    for own, theirs in zip(
        torch.autograd.grad(found / 7, [hidden, weight]), torch.autograd.grad(wanted / 7, [hidden, weight]), strict=True
    ):
        assert own.shape == theirs.shape
        assert torch.allclose(own, theirs, rtol=1e-11, atol=1e-13)


def test_logits_of_any_size_have_a_loss() -> None:
    """Prevents exponentials that leave the range of a float32: logits of +-1,000 nats."""
    hidden, weight, labels, _ = drawn(64, 50, scale=300.0, dtype=torch.float32)
    found = output_loss(hidden, weight, labels, count=taught(labels))
    wanted = reference(hidden.double(), weight.double(), labels, None, 0.0)
    assert float(functional.linear(hidden, weight).detach().abs().max()) > 1000
    assert torch.allclose(found.double(), wanted, rtol=1e-6)
    for gradient in torch.autograd.grad(found, [hidden, weight]):
        assert gradient.isfinite().all()


def test_rounding_is_that_of_autocast() -> None:
    """Prevents products in float32 where a training asked for bf16, and losses that are summed in eight bits."""
    hidden, weight, labels, _ = drawn(2000, 300, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_loss(hidden, weight, labels, count=taught(labels))
        wanted = functional.cross_entropy(
            functional.linear(hidden, weight).float().flatten(0, 1), labels.flatten(), reduction="sum"
        )
    assert found.dtype is torch.float32
    exact = output_loss(hidden, weight, labels, count=taught(labels))
    assert torch.allclose(found, wanted, rtol=1e-6)
    assert not torch.equal(found, exact) and torch.allclose(found, exact, rtol=1e-3)
    for rounded, gradient in zip(
        torch.autograd.grad(found, [hidden, weight]), torch.autograd.grad(exact, [hidden, weight]), strict=True
    ):
        assert rounded.dtype is torch.float32
        assert float((rounded - gradient).norm() / gradient.norm()) < 0.01


def test_only_what_learns_gets_a_gradient() -> None:
    """Prevents the work of a gradient that nobody asked for: of a frozen recommender, or while validating."""
    hidden, weight, labels, _ = drawn(20, 30)
    weight.requires_grad_(False)
    output_loss(hidden, weight, labels, count=taught(labels)).backward()
    assert hidden.grad is not None and weight.grad is None
    with torch.no_grad():
        assert not output_loss(hidden, weight, labels, count=taught(labels)).requires_grad
    nothing = torch.full_like(labels, IGNORED)
    assert output_loss(hidden, weight, nothing, count=0).item() == 0.0


def test_the_output_layer_meets_few_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents kernels for every number of taught tokens: they stay in memory, and made it grow step by step."""
    seen, linear = set[int](), blocks.linear

    def watched(rows: Tensor, weight: Tensor) -> Any:
        seen.add(len(rows))
        return linear(rows, weight)

    monkeypatch.setattr(blocks, "linear", watched)
    hidden, weight, labels, _ = drawn(1200, 40, dtype=torch.float32)
    for count in range(300, 600):
        labels.fill_(IGNORED).view(-1)[:count] = 3
        output_loss(hidden, weight, labels, count=count)
    assert len(seen) <= 6 and max(seen) == 640
