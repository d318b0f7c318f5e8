"""Dropout from 16 random bits a number on the CPU, where torch draws a whole number for each, one after the other.

    dropout(values, 0.1)                     # as torch.nn.functional.dropout(values, 0.1)

With torch's a T5 from scratch spends a third of its training on random numbers (`benchmarks/train.py`, `where`). On a
GPU and compiled it is torch's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16
_LOWEST = -(1 << 63)


def dropout(values: Tensor, share: float) -> Tensor:
    """Set each number to 0 with probability `share`, to the nearest 1 / 65,536; scale the rest by 1 / (1 - share)."""
    cut = round(share * _LEVELS)
    if values.device.type != "cpu" or not 0 < cut < _LEVELS or torch.compiler.is_compiling():
        return functional.dropout(values, share)
    drawn = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(_LOWEST, None)
    kept = drawn.view(torch.int16)[: values.numel()].view(values.shape) >= cut - _LEVELS // 2
    return values * kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - cut))


class Dropout(nn.Dropout):
    """An `nn.Dropout` that calls `dropout`; made by `use_cpu_kernels` alone."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p) if self.training else input
