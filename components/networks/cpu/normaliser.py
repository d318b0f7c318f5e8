"""Computes the log-sum-exp of the logits of a whole vocabulary, a block of logits at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from components.networks.cpu.onednn import linear

_CELLS_CPU = 1 << 19
"""Logits at a time, 2 MB: they stay in the cache."""
_CELLS_GPU = 1 << 26
_ROWS = 32
"""On a CPU rows are filled up to a multiple of this: oneDNN compiles a kernel for each shape, and keeps it."""
LOG2_E = math.log2(math.e)
"""torch computes powers of two by itself, those of e with MKL, which is slower on an AMD processor."""


@torch.no_grad()
def log_sum_exp(hidden: Tensor, weight: Tensor) -> Tensor:
    """log(sum_v exp(hidden . weight[v])) for hidden states [n, d] and weights [vocabulary, d], float32: [n]."""
    rows = len(hidden)
    if hidden.is_cuda:
        return _shifted(hidden, weight, _CELLS_GPU)
    hidden = functional.pad(hidden, (0, 0, 0, -rows % _ROWS))
    total = _unshifted(hidden, weight)
    if bool(((total > 1e-20) & (total < 1e38)).all()):  # as exact as a sum of shifted exponentials
        return total.log()[:rows]
    return _shifted(hidden, weight, _CELLS_CPU)[:rows]


def _unshifted(hidden: Tensor, weight: Tensor) -> Tensor:
    """The sum of exponentials; infinite or 0 where they leave the range of a float32.

    It is faster for two reasons: there is no pass for a maximum, and powers of two are faster than those of e.
    """
    total = hidden.new_zeros(len(hidden))
    hidden = hidden * LOG2_E
    with torch.autocast("cpu", enabled=False):  # scores are float32, whatever the model computes in
        for part in weight.split(_width(hidden, _CELLS_CPU)):
            total += linear(hidden, part).exp2_().sum(1)
    return total


def _shifted(hidden: Tensor, weight: Tensor, cells: int) -> Tensor:
    """The log-sum-exp for logits of any size: each exponential is less than 1."""
    top = hidden.new_full((len(hidden),), float("-inf"))
    total = torch.zeros_like(top)
    with torch.autocast(hidden.device.type, enabled=False):
        for part in weight.split(_width(hidden, cells)):
            logits = linear(hidden, part)
            highest = torch.maximum(top, logits.amax(1))
            total = total * (top - highest).exp() + logits.sub_(highest[:, None]).exp_().sum(1)
            top = highest
    return top + total.log()


def _width(hidden: Tensor, cells: int) -> int:
    """Tokens at a time."""
    return max(128, cells // max(1, len(hidden)))
