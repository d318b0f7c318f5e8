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
_PARCEL = 32
"""Logits of which only the greatest is looked at first: two to three times as fast as `topk` over whole rows."""

LOG2_E = math.log2(math.e)
"""Powers of two: torch has exp from MKL, which on an AMD processor takes 0.63 ns an element, and its own exp2 0.14."""

NONE = float("-inf")

Logits = Callable[[Tensor], Tensor]
"""Rows of states [rows, x] -> their logits [rows, columns], which may be written into."""


def shortlist(logits: Logits, states: Tensor, *, columns: int, legal: int, wanted: int) -> tuple[Tensor, Tensor]:
    """The `wanted` best of the first `legal` columns of each row, best first, as [rows, wanted] each.

    Returns float32 log-probabilities over all `columns`, and the columns. Where fewer are legal than wanted, the last
    ones have -inf.
    """
    found = [_best(block, legal, wanted) for block in _blocks(logits, states, columns)]
    scores, places = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(places)


def score_of(logits: Logits, states: Tensor, *, columns: int, column: int) -> Tensor:
    """Log-probability of one of the columns, float32 [rows]."""
    return torch.cat([block[:, column] - _log_sum_exp(block) for block in _blocks(logits, states, columns)])


def _blocks(logits: Logits, states: Tensor, columns: int) -> Iterator[Tensor]:
    """Logits of the rows, float32, a block at a time."""
    rows = max(1, (_CELLS_GPU if states.is_cuda else _CELLS_CPU) // columns)
    return (logits(part).float() for part in states.split(rows))


def unshifted(totals: Tensor) -> bool:
    """Whether sums of exponentials of logits as they are, are as exact as sums of shifted ones would be."""
    return bool(((totals > 1e-20) & (totals < 1e38)).all())


def _log_sum_exp(block: Tensor) -> Tensor:
    """log(sum(exp(row))) of each row of logits; on a CPU without a pass for the maximum, where it can do without."""
    if not block.is_cuda:
        totals = block.mul(LOG2_E).exp2_().sum(1)
        if unshifted(totals):
            return totals.log_()
    return block.logsumexp(1)


def _best(block: Tensor, legal: int, wanted: int) -> tuple[Tensor, Tensor]:
    """`shortlist` of one block. The best `wanted` lie in the `wanted` parcels with the greatest greatest elements."""
    normaliser = _log_sum_exp(block)[:, None]
    parcels = -(-legal // _PARCEL)
    if parcels <= wanted or parcels * _PARCEL > block.shape[1]:
        block[:, legal:wanted] = NONE
        scores, places = block[:, : max(legal, wanted)].topk(wanted)
        return scores - normaliser, places
    block[:, legal : parcels * _PARCEL] = NONE
    folded = block[:, : parcels * _PARCEL].unflatten(1, (parcels, _PARCEL))
    chosen = folded.amax(2).topk(wanted, sorted=False).indices
    scores, within = folded.gather(1, chosen[:, :, None].expand(-1, -1, _PARCEL)).flatten(1).topk(wanted)
    places = chosen.gather(1, within // _PARCEL) * _PARCEL + within % _PARCEL
    return scores - normaliser, places
