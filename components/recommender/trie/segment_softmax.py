"""Log-softmax over segments: over the options of each choice, where the options of all choices lie end to end."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_log_softmax(logits: Tensor, owners: Tensor, count: int) -> Tensor:
    """Log-probability [m] of each option among those with its owner: logits [m], owners [m] int64 below `count`."""
    top = logits.new_full((count,), float("-inf")).scatter_reduce(0, owners, logits, "amax")
    shifted = logits - top.index_select(0, owners)
    total = torch.zeros_like(top).index_add(0, owners, shifted.exp())
    return shifted - total.log().index_select(0, owners)
