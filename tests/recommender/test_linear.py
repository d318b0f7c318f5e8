"""Products by another library must be the same products, and must not pass by what a layer does besides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.recommender.linear import apply, product


@pytest.mark.parametrize("shape", [(0, 12), (5, 12), (3, 4, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_product_is_that_of_a_linear_layer(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Any shape and type that decoding meets, rows that do not lie one after the other included."""
    rows, weight = torch.randn(*shape, dtype=dtype), torch.randn(7, 12, dtype=dtype)
    torch.testing.assert_close(product(rows, weight), functional.linear(rows, weight))
    spread = rows.repeat(1, *(1 for _ in shape[1:-1]), 2)[..., ::2] if len(shape) == 2 else rows.transpose(0, 1)
    torch.testing.assert_close(product(spread, weight), functional.linear(spread, weight))


def test_autocast_is_heeded() -> None:
    """Under autocast the caches are bf16: a product in float32 would not fit them."""
    with torch.autocast("cpu", torch.bfloat16):
        assert product(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.bfloat16


def test_what_a_layer_adds_is_kept() -> None:
    """An adapter (LoRA) stands in the place of a linear layer; its base weight alone would be another model."""

    class Adapted(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    rows = torch.randn(2, 3)
    for layer in (Adapted(3, 4, bias=False), nn.Linear(3, 4), nn.Linear(3, 4, bias=False)):
        torch.testing.assert_close(apply(layer, rows), layer(rows))
