"""Multiplies float32 matrices by oneDNN on AMD processors with AVX-512.

    linear(rows, weight)             # as functional.linear(rows, weight), with gradients of both

PyTorch multiplies float32 matrices with MKL, which stops at AVX2 on an AMD processor; oneDNN, which PyTorch brings too
and uses for bfloat16, takes AVX-512 there. Elsewhere oneDNN is the slower of the two (`benchmarks/kernels.py`).
A row is summed up in another order; nothing is computed in less than float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def _mkl_stops_at_avx2() -> bool:
    """Whether this is an AMD processor with AVX-512; False where the operating system does not say."""
    info = Path("/proc/cpuinfo")
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide and info.exists() and "AuthenticAMD" in info.read_text(encoding="utf-8", errors="replace")


_FASTER = _mkl_stops_at_avx2()
_SMALLEST = 1 << 20
"""Multiplications below which the call costs more than it saves (64 x 128 times 128 x 128). Shapes alone decide, and
equal batches are multiplied in equal ways."""


class Linear(nn.Linear):
    """An `nn.Linear` that multiplies by `linear`; one with a bias is PyTorch's."""

    def forward(self, input: Tensor) -> Tensor:
        if self.bias is not None:
            return functional.linear(input, self.weight, self.bias)
        return linear(input, self.weight)


def linear(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight.T for rows [..., k] and weight [n, k]: [..., n]; with gradients of both."""
    if not _suits(rows, weight):
        return functional.linear(rows, weight)
    if torch.is_grad_enabled() and (rows.requires_grad or weight.requires_grad):
        return _Product.apply(rows, weight)  # type: ignore[no-any-return,no-untyped-call]
    return _product(rows, weight)


def weight_gradient(above: Tensor, rows: Tensor) -> Tensor:
    """above.T @ rows for above [m, n] and rows [m, k]: [n, k]; without gradient.

    The wider of the two gives the rows of the product, which is faster.
    """
    if not _suits(above.T, rows.T):
        return above.T @ rows
    if above.shape[1] > rows.shape[1]:
        return _product(rows.T, above.T).T
    return _product(above.T, rows.T)


def _suits(rows: Tensor, weight: Tensor) -> bool:
    return (
        _FASTER
        and rows.is_cpu
        and rows.dtype is torch.float32
        and weight.dtype is torch.float32
        and rows.numel() * weight.shape[0] >= _SMALLEST
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # the compiler chooses kernels itself
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)  # a person may switch it off
    )


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows @ weight.T by what `torch.compile` calls for a linear layer on the CPU. Transposed operands are read as they
    lie."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        by_rows = by_weight = None
        if ctx.needs_input_grad[0]:
            by_rows = _product(above, weight.T)
        if ctx.needs_input_grad[1]:
            by_weight = weight_gradient(above.flatten(0, -2), rows.flatten(0, -2))
        return by_rows, by_weight
