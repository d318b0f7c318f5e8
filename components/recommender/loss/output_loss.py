"""Cross-entropy of the output layer, a block of rows at a time: logits of a whole batch are never held.

    total = output_loss(hidden, head.weight, labels, count=taught)

Of a small model the output layer is most of the work, and on a CPU most of that is memory: 3,000 tokens x 8,192 words
are 98 MB of logits, as much of probabilities and as much of gradient, all of it fresh pages in every step. A block
stays in the cache from its product to its gradients, which are computed at once, as their factor from above is one
number (Hsu et al., "Liger Kernel", 2024). torch's `linear_cross_entropy` in blocks is slower here than no blocks at all
(`benchmarks/output_loss.py`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from components.networks.cpu import LOG2_E, linear, weight_gradient
from components.networks.rounding import round_up
from components.recommender.batches.batch import IGNORED

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
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    labels = labels.flatten()
    # How many there are is known, so that a GPU is not waited for.
    taught = (labels != IGNORED).nonzero_static(size=round_up(count, _ROWS), fill_value=-1)[:, 0]
    at = taught.clamp(min=0)
    wanted = labels[at].masked_fill(taught < 0, IGNORED)
    learns = torch.is_grad_enabled()
    return _Sum.apply(  # type: ignore[no-any-return,no-untyped-call]
        hidden.flatten(0, -2),
        weight,
        at,
        wanted,
        bias,
        dtype,
        label_smoothing,
        (learns and hidden.requires_grad, learns and weight.requires_grad),
    )


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        at: Tensor,
        wanted: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        smoothing: float,
        learns: tuple[bool, bool],
    ) -> Tensor:
        """at [n]: rows of `hidden` [m, d] that are taught; wanted [n]: their labels, IGNORED for those that fill up."""
        exact = torch.promote_types(dtype, torch.float32)
        by_hidden = torch.zeros_like(hidden) if learns[0] else None
        by_weight = torch.zeros_like(weight, dtype=exact) if learns[1] else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        rounded, height = weight.to(dtype), _height(weight)
        # Written again by every block: fresh memory would cost more than what is computed in it.
        buffers = [hidden.new_empty(min(height, len(at)), len(weight), dtype=kind) for kind in (exact, dtype)]
        with torch.autocast(hidden.device.type, enabled=False):
            for rows, labels in zip(at.split(height), wanted.split(height), strict=True):
                block = hidden[rows].to(dtype)
                logits, above = (buffer[: len(rows)] for buffer in buffers)
                logits.copy_(linear(block, rounded))
                if bias is not None:
                    logits += bias
                losses, gradient, factor = _losses(logits, labels, smoothing)
                total += losses.sum(dtype=torch.float64)
                torch.mul(gradient, factor[:, None], out=above)
                if by_hidden is not None:
                    by_hidden.index_add_(0, rows, linear(above, rounded.T).to(by_hidden.dtype))
                if by_weight is not None:
                    by_weight += weight_gradient(above, block)
        ctx.save_for_backward(by_hidden, by_weight)
        ctx.weight_dtype = weight.dtype
        return total.to(exact)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_weight = ctx.saved_tensors
        return (
            None if by_hidden is None else by_hidden * above.to(by_hidden.dtype),
            None if by_weight is None else (by_weight * above).to(ctx.weight_dtype),
            *(None,) * 6,
        )


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


def _height(weight: Tensor) -> int:
    """Rows at a time."""
    return max(_ROWS, (_CELLS_GPU if weight.is_cuda else _CELLS_CPU) // len(weight) // _ROWS * _ROWS)
