"""A softmax among siblings: over the options of one choice, which lie end to end with those of all others."""

from __future__ import annotations

import torch
from torch import Tensor


def log_softmax_of_siblings(logits: Tensor, owners: Tensor, count: int) -> Tensor:
    """Log-probability [m] of each option among those with its owner: logits [m], owners [m] int64 below `count`."""
    top = logits.new_full((count,), float("-inf")).scatter_reduce(0, owners, logits, "amax")
    shifted = logits - top.index_select(0, owners)
    total = torch.zeros_like(top).index_add(0, owners, shifted.exp())
    return shifted - total.log().index_select(0, owners)
