"""Log-sum-exp over the whole vocabulary without ever holding all logits."""

from __future__ import annotations

import torch
from torch import Tensor

_CELLS_CPU = 1 << 19
"""Logits at a time, 2 MB: they stay in the cache. 1.6 times faster than all at once at 1,280 x 8,192 (a fresh block of
42 MB costs its page faults in every step); anything from 2^17 to 2^21 does as well."""
_CELLS_GPU = 1 << 26


@torch.no_grad()
def log_sum_exp(hidden: Tensor, weight: Tensor) -> Tensor:
    """log(sum_v exp(hidden . weight[v])) for hidden states [n, d] and weights [vocabulary, d], float32: [n]."""
    cells = _CELLS_GPU if hidden.is_cuda else _CELLS_CPU
    width = max(128, cells // max(1, len(hidden)))
    block = hidden.new_empty(len(hidden) * min(width, len(weight)))
    top = hidden.new_full((len(hidden),), float("-inf"))
    total = torch.zeros_like(top)
    for part in weight.split(width):
        logits = block[: len(hidden) * len(part)].view(len(hidden), len(part))
        torch.mm(hidden, part.T, out=logits)
        highest = torch.maximum(top, logits.amax(1))
        total = total * (top - highest).exp() + logits.sub_(highest[:, None]).exp_().sum(1)
        top = highest
    return top + total.log()
