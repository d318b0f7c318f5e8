"""Log-sum-exp over the whole vocabulary without ever holding all logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from components.networks.cpu.onednn import linear
from components.networks.cpu.shortlist import LOG2_E, unshifted

_CELLS_CPU = 1 << 19
"""Logits at a time, 2 MB: they stay in the cache. 1.6 times faster than all at once at 1,280 x 8,192 (a fresh block of
42 MB costs its page faults in every step); anything from 2^17 to 2^21 does as well."""
_CELLS_GPU = 1 << 26
_ROWS = 32
"""On a CPU rows are filled up to a multiple of this: oneDNN makes a kernel per shape, in 0.3 ms, and keeps it."""


@torch.no_grad()
def log_sum_exp(hidden: Tensor, weight: Tensor) -> Tensor:
    """log(sum_v exp(hidden . weight[v])) for hidden states [n, d] and weights [vocabulary, d], float32: [n]."""
    rows = len(hidden)
    if hidden.is_cuda:
        return _shifted(hidden, weight, _CELLS_GPU)
    hidden = functional.pad(hidden, (0, 0, 0, -rows % _ROWS))
    total = _unshifted(hidden, weight)
    if unshifted(total):
        return total.log()[:rows]
    return _shifted(hidden, weight, _CELLS_CPU)[:rows]


def _unshifted(hidden: Tensor, weight: Tensor) -> Tensor:
    """The sum of exponentials; infinite or 0 where they leave the range of a float32.

    No pass for a maximum, and powers of two (`LOG2_E`): 20.8 -> 13.3 us for a row of 8,192 (of 640), of which the
    product takes 10.
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
