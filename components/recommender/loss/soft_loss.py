"""What soft targets add to the cross-entropy of the labels, over whatever tokens that is taken.

    total = output_loss(...) + soft_loss(hidden, head.weight, batch.soft)

A label that gives a share s of the target's token y to another token c changes its cross-entropy by s (z_y - z_c), z
being logits: the normaliser stays. So a batch needs the rows of the tokens that share a label, and no further softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.recommender.batches.soft_targets import Soft

_ENTRIES = 1 << 15
"""At a time: 25 MB at d = 192."""


def soft_loss(hidden: Tensor, weight: Tensor, soft: Soft, *, bias: Tensor | None = None) -> Tensor:
    """Sum over the labels (nats), scalar, at least float32. hidden [rows, T, d], weight [vocabulary, d]."""
    flat = hidden.flatten(0, 1)
    exact = torch.promote_types(hidden.dtype, torch.float32)
    total = torch.zeros((), dtype=exact, device=hidden.device)
    parts = (each.split(_ENTRIES) for each in (soft.places, soft.tokens, soft.shares))
    with torch.autocast(hidden.device.type, enabled=False):
        for places, tokens, shares in zip(*parts, strict=True):
            states, rows = flat.index_select(0, places).to(exact), weight.index_select(0, tokens).to(exact)
            logits = (states * rows).sum(1)
            if bias is not None:
                logits = logits + bias.flatten()[tokens]
            total = total + (logits * shares.to(exact)).sum()
    return total
