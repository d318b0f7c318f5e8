"""Cross-entropy of the output layer, a block of rows at a time: logits of a whole batch are never held.

    total = output_loss(hidden, head.weight, labels, count=taught)

Of a small model the output layer is most of the work, and on a CPU most of that is memory: 3,000 tokens x 8,192 words
are 98 MB of logits, as much of probabilities and as much of gradient, all of it fresh pages in every step. A block
stays in the cache from its product to its gradients, which are computed at once (at_once.py). torch's
`linear_cross_entropy` in blocks is slower here than no blocks at all (`benchmarks/output_loss.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from components.networks.cpu import LOG2_E, linear, weight_gradient
from components.networks.rounding import round_up
from components.recommender.batches.batch import IGNORED
from components.recommender.loss.at_once import Gradients

_CELLS_CPU = 1 << 21
"""Logits at a time, 8 MB."""
_CELLS_GPU = 1 << 23
"""A guess, 32 MB: what lies between two kernels fits into the cache of a large GPU."""
_ROWS = 64
"""Rows are filled up to a multiple of this. oneDNN makes kernels for each number of them and keeps them, and every
batch has another one: the memory of a training grew step by step (docs/log.md)."""


def output_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    count: int,
    bias: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sum of the cross-entropies (nats) of the logits hidden @ weight.T + bias, scalar, at least float32.

    hidden [..., d]; weight [vocabulary, d]; labels [...] int64, of which `count` are not IGNORED, and only their logits
    are computed; bias [vocabulary], which gets no gradient. Products are rounded as autocast says.
    """
    hidden, labels = hidden.flatten(0, -2), labels.flatten()
    taught, dtype = taught_rows(labels, count), product_dtype(hidden)
    at = taught.clamp(min=0)
    wanted = labels[at].masked_fill(taught < 0, IGNORED)
    exact = torch.promote_types(dtype, torch.float32)
    found = Gradients.of(hidden, weight, exact, by_hidden=hidden.dtype)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        rounded, most = weight.to(dtype), height(weight)
        # Written again by every block: fresh memory would cost more than what is computed in it.
        buffers = [hidden.new_empty(min(most, len(at)), len(weight), dtype=kind) for kind in (exact, dtype)]
        for rows, some in zip(at.split(most), wanted.split(most), strict=True):
            block = hidden[rows].to(dtype)
            logits, above = (buffer[: len(rows)] for buffer in buffers)
            logits.copy_(linear(block, rounded))
            if bias is not None:
                logits += bias
            losses, gradient, factor = _losses(logits, some, label_smoothing)
            found.total += losses.sum(dtype=torch.float64)
            torch.mul(gradient, factor[:, None], out=above)
            if found.by_hidden is not None:
                found.by_hidden.index_add_(0, rows, linear(above, rounded.T).to(hidden.dtype))
            if found.by_weight is not None:
                found.by_weight += weight_gradient(above, block)
    return found.attached(hidden, weight)


def taught_rows(labels: Tensor, count: int) -> Tensor:
    """Places of the `count` labels that are not IGNORED, filled up with -1 to a multiple of `_ROWS`. labels [n]."""
    # How many there are is known, so that a GPU is not waited for.
    return (labels != IGNORED).nonzero_static(size=round_up(count, _ROWS), fill_value=-1)[:, 0]


def height(weight: Tensor) -> int:
    """Rows of a block, for weights [vocabulary, d]."""
    return max(_ROWS, (_CELLS_GPU if weight.is_cuda else _CELLS_CPU) // len(weight) // _ROWS * _ROWS)


def product_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype that a product of hidden states and weights is computed in."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _losses(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of each row of logits [n, vocabulary], 0 for IGNORED; its gradient [n, vocabulary], and a factor by
    which each row of that has still to be multiplied. The logits are written over."""
    counted = (labels != IGNORED).to(logits.dtype)
    chosen = labels.clamp(min=0)[:, None]
    fused = _is_fused(logits.device)
    logs = torch.log_softmax(logits, 1) if fused else logits.mul_(LOG2_E).sub_(logits.amax(1, keepdim=True))
    said = logs.gather(1, chosen)[:, 0]
    if smoothing:
        said = (1 - smoothing) * said + smoothing * logs.mean(1)
    powers = logs.exp_() if fused else logs.exp2_()
    sums = torch.ones_like(counted) if fused else powers.sum(1)
    losses = -said if fused else (sums.log2() - said) * math.log(2)
    powers.scatter_add_(1, chosen, ((smoothing - 1) * sums)[:, None])
    if smoothing:
        powers -= (smoothing / powers.shape[1]) * sums[:, None]
    return losses * counted, powers, counted / sums


def _is_fused(device: torch.device) -> bool:
    """Whether a log-softmax is one pass over the logits. On a CPU powers of two and a sum are faster (`LOG2_E`)."""
    return device.type != "cpu"
