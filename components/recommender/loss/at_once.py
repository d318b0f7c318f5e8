"""Losses whose gradients are computed together with them, a block at a time, so that no logits are kept.

    gradients = Gradients.of(hidden, weight, torch.float32)
    with torch.no_grad():
        ...                                              # block by block: total, by_hidden, by_weight
    return gradients.attached(hidden, weight)            # the total, whose backward pass multiplies by one number

What comes from above is one number, so the gradients can be had before it is known (Hsu et al., "Liger Kernel", 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass
class Gradients:
    """A sum and its gradients by what asks for one."""

    exact: torch.dtype
    """Of the sum that is returned, at least float32."""
    total: Tensor
    """Scalar, float64."""
    by_hidden: Tensor | None
    """As the hidden states; None where they need none."""
    by_weight: Tensor | None
    """As the weights, `exact`; None where they need none."""

    @classmethod
    def of(cls, hidden: Tensor, weight: Tensor, exact: torch.dtype, *, by_hidden: torch.dtype | None = None) -> Self:
        """Zeros. by_hidden: dtype of that gradient (None: `exact`)."""
        learns = torch.is_grad_enabled()
        return cls(
            exact,
            torch.zeros((), dtype=torch.float64, device=hidden.device),
            torch.zeros_like(hidden, dtype=by_hidden or exact) if learns and hidden.requires_grad else None,
            torch.zeros_like(weight, dtype=exact) if learns and weight.requires_grad else None,
        )

    def attached(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """The total as a scalar of the graph of `hidden` and `weight`."""
        total = self.total.to(self.exact)
        return _Attached.apply(hidden, weight, total, self.by_hidden, self.by_weight)  # type: ignore[no-any-return,no-untyped-call]


class _Attached(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, total: Tensor, by_hidden: Tensor | None, by_weight: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(by_hidden, by_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total.clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if gradient is None else (gradient * above.to(gradient.dtype)).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)
