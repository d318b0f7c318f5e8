"""The best few tokens of each row, with exact log-probabilities, from blocks of logits that stay in the cache.

What a beam search needs of 8,192 logits is ten of them, and the normaliser over all. The logits of a whole batch of
beams (512 x 8,192: 16 MB) would go through main memory in every operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_CELLS_CPU = 1 << 18
"""Logits at a time, 1 MB."""
_CELLS_GPU = 1 << 26
_PARCEL = 64
"""Logits of which only the greatest is looked at first: three to four times as fast as `topk` over whole rows."""

LOG2_E = math.log2(math.e)
"""Powers of two: torch has exp from MKL, which on an AMD processor takes 0.63 ns an element, and its own exp2 0.14."""

NONE = float("-inf")

Logits = Callable[[Tensor], Tensor]
"""Rows of states [rows, x] -> their logits [rows, columns], which may be written into."""


def top_tokens(logits: Logits, states: Tensor, *, columns: int, legal: int, wanted: int) -> tuple[Tensor, Tensor]:
    """The `wanted` best of the first `legal` columns of each row, best first, as [rows, wanted] each.

    Returns float32 log-probabilities over all `columns`, and the columns. Where fewer are legal than wanted, the last
    ones have -inf.
    """
    unit = _unit(states)
    found = [_best(block, legal, wanted, unit) for block in _blocks(logits, states, columns, unit)]
    scores, places = zip(*found, strict=True)
    return torch.cat(scores).mul_(1 / unit), torch.cat(places)


def log_probability(logits: Logits, states: Tensor, *, columns: int, column: int) -> Tensor:
    """Log-probability of one of the columns, float32 [rows]."""
    unit = _unit(states)
    blocks = _blocks(logits, states, columns, unit)
    return torch.cat([block[:, column] - _log_sum_exp(block, unit) for block in blocks]).mul_(1 / unit)


def _unit(states: Tensor) -> float:
    """By what the logits of `states` are multiplied while they are compared: on a CPU they are powers of two.

    Logits are linear in the states; in bf16 the factor would be rounded with them.
    """
    return LOG2_E if states.is_cpu and states.dtype is torch.float32 else 1.0


def _blocks(logits: Logits, states: Tensor, columns: int, unit: float) -> Iterator[Tensor]:
    """`unit` x logits of the rows, float32, a block at a time."""
    rows = max(1, (_CELLS_GPU if states.is_cuda else _CELLS_CPU) // columns)
    return (logits(part if unit == 1.0 else part * unit).float() for part in states.split(rows))


def unshifted(totals: Tensor) -> bool:
    """Whether sums of exponentials of logits as they are, are as exact as sums of shifted ones would be."""
    if not len(totals):
        return True
    least, most = totals.aminmax()
    return float(least) > 1e-20 and float(most) < 1e38


def _log_sum_exp(block: Tensor, unit: float) -> Tensor:
    """`unit` x log(sum(exp(row / unit))) of each row; on a CPU without a pass for the maximum, where it can do so."""
    if unit == 1.0:
        return block.logsumexp(1)
    totals = block.exp2().sum(1)
    return totals.log2_() if unshifted(totals) else block.mul(1 / unit).logsumexp(1).mul_(unit)


def _best(block: Tensor, legal: int, wanted: int, unit: float) -> tuple[Tensor, Tensor]:
    """`top_tokens` of one block. The best `wanted` lie in the `wanted` parcels with the greatest greatest elements."""
    normaliser = _log_sum_exp(block, unit)[:, None]
    parcels = -(-legal // _PARCEL)
    if parcels <= wanted or parcels * _PARCEL > block.shape[1]:
        block[:, legal:wanted] = NONE
        scores, places = block[:, : max(legal, wanted)].topk(wanted)
        return scores - normaliser, places
    block[:, legal : parcels * _PARCEL] = NONE
    folded = block[:, : parcels * _PARCEL].unflatten(1, (parcels, _PARCEL))
    chosen = folded.amax(2).topk(wanted, sorted=False).indices
    # Whole parcels out of all runs of so many logits: a fifth of the time of gathering their elements.
    begin = chosen * _PARCEL + torch.arange(len(block), device=block.device)[:, None] * block.shape[1]
    inside = block.flatten().unfold(0, _PARCEL, 1).index_select(0, begin.flatten())
    scores, within = inside.view(len(block), -1).topk(wanted)
    places = chosen.gather(1, within // _PARCEL) * _PARCEL + within % _PARCEL
    return scores - normaliser, places
