"""Divergence of a model from what it was before: the sum over label tokens of KL(before || now).

    total = output_divergence(hidden, head.weight, previous_hidden, previous_head.weight, labels, count=taught)
    total = trie_divergence(hidden, head.weight, previous_hidden, previous_head.weight, batch.choices)

A model that is trained further on few new samples keeps what it has learned if its probabilities are held near those
that it had (Li and Hoiem, "Learning without Forgetting", 2016). Computed a block of rows at a time with its gradients,
as the losses beside it (output_loss.py, trie_loss.py); nothing flows into the model before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from components.networks.cpu import linear, weight_gradient
from components.networks.rounding import round_up
from components.recommender.batches.batch import IGNORED
from components.recommender.trie.choices import Choices
from components.recommender.trie.segment_softmax import segment_log_softmax

_CELLS = 1 << 21
"""Logits at a time, of each of the two models."""
_ROWS = 64
"""Rows are filled up to a multiple of this (output_loss.py says why)."""


def output_divergence(
    hidden: Tensor,
    weight: Tensor,
    before: Tensor,
    before_weight: Tensor,
    labels: Tensor,
    *,
    count: int,
    bias: Tensor | None = None,
    before_bias: Tensor | None = None,
) -> Tensor:
    """Over the vocabulary, at the `count` places of `labels` that are not IGNORED: nats, scalar, at least float32.

    hidden, before [..., d]; both weights [vocabulary, d]; labels [...] int64; biases [vocabulary] or [1, vocabulary].
    Products are rounded as autocast says.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    taught = (labels.flatten() != IGNORED).nonzero_static(size=round_up(count, _ROWS), fill_value=-1)[:, 0]
    learns = torch.is_grad_enabled()
    return _OverVocabulary.apply(  # type: ignore[no-any-return,no-untyped-call]
        hidden.flatten(0, -2),
        weight,
        before.detach().flatten(0, -2),
        before_weight.detach(),
        taught,
        bias,
        before_bias,
        dtype,
        (learns and hidden.requires_grad, learns and weight.requires_grad),
    )


def trie_divergence(
    hidden: Tensor,
    weight: Tensor,
    before: Tensor,
    before_weight: Tensor,
    choices: Choices,
    *,
    bias: Tensor | None = None,
    before_bias: Tensor | None = None,
) -> Tensor:
    """Over the options of each choice: nats, scalar, at least float32. hidden, before [rows, T, d]; the rest alike."""
    now, old = hidden.flatten(0, 1), before.detach().flatten(0, 1)
    biases = [None if each is None else each.flatten() for each in (bias, before_bias)]
    opening = [None if each is None else each[choices.opening] for each in biases]
    first = output_divergence(
        now.index_select(0, choices.first),
        weight.index_select(0, choices.opening),
        old.index_select(0, choices.first),
        before_weight.detach().index_select(0, choices.opening),
        choices.first_labels,
        count=len(choices.first),
        bias=opening[0],
        before_bias=opening[1],
    )
    learns = torch.is_grad_enabled()
    later: Tensor = _OverOptions.apply(  # type: ignore[no-untyped-call]
        now.index_select(0, choices.later),
        weight,
        old.index_select(0, choices.later),
        before_weight.detach(),
        choices,
        *biases,
        (learns and hidden.requires_grad, learns and weight.requires_grad),
    )
    return first + later


class _OverVocabulary(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        before: Tensor,
        before_weight: Tensor,
        taught: Tensor,
        bias: Tensor | None,
        before_bias: Tensor | None,
        dtype: torch.dtype,
        learns: tuple[bool, bool],
    ) -> Tensor:
        """taught [n]: rows of `hidden` and `before` [m, d] that count, -1 for those that fill up."""
        exact = torch.promote_types(dtype, torch.float32)
        by_hidden = torch.zeros_like(hidden) if learns[0] else None
        by_weight = torch.zeros_like(weight, dtype=exact) if learns[1] else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        rounded, before_rounded = weight.to(dtype), before_weight.to(dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in taught.split(max(_ROWS, _CELLS // len(weight) // _ROWS * _ROWS)):
                counted, at = (rows >= 0).to(exact)[:, None], rows.clamp(min=0)
                block = hidden[at].to(dtype)
                now = _logs(block, rounded, bias, exact)
                then = _logs(before[at].to(dtype), before_rounded, before_bias, exact)
                share = then.exp()
                total += (share * (then - now) * counted).sum(dtype=torch.float64)
                above = ((now.exp() - share) * counted).to(dtype)
                if by_hidden is not None:
                    by_hidden.index_add_(0, at, linear(above, rounded.T).to(by_hidden.dtype))
                if by_weight is not None:
                    by_weight += weight_gradient(above, block)
        ctx.save_for_backward(by_hidden, by_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total.to(exact)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        return (*_scaled(ctx, above), *(None,) * 7)


class _OverOptions(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        before: Tensor,
        before_weight: Tensor,
        choices: Choices,
        bias: Tensor | None,
        before_bias: Tensor | None,
        learns: tuple[bool, bool],
    ) -> Tensor:
        """hidden, before [k, d]: what is read before each choice."""
        exact = torch.promote_types(hidden.dtype, torch.float32)
        by_hidden = torch.zeros(hidden.shape, dtype=exact, device=hidden.device) if learns[0] else None
        by_weight = torch.zeros_like(weight, dtype=exact) if learns[1] else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start, stop, begin, end in choices.blocks:
            options, owners = choices.options[begin:end], choices.owners[begin:end]
            states, rows = hidden.index_select(0, owners).to(exact), weight.index_select(0, options).to(exact)
            old = before.index_select(0, owners).to(exact) * before_weight.index_select(0, options).to(exact)
            now = (states * rows).sum(1) if bias is None else (states * rows).sum(1) + bias[options]
            then = old.sum(1) if before_bias is None else old.sum(1) + before_bias[options]
            now, then = (segment_log_softmax(each, owners - start, stop - start) for each in (now, then))
            share = then.exp()
            total += (share * (then - now)).sum(dtype=torch.float64)
            gradient = now.exp() - share
            if by_hidden is not None:
                by_hidden.index_add_(0, owners, rows.mul_(gradient[:, None]))
            if by_weight is not None:
                by_weight.index_add_(0, options, states.mul_(gradient[:, None]))
        ctx.save_for_backward(by_hidden, by_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total.to(exact)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        return (*_scaled(ctx, above), *(None,) * 6)


def _logs(block: Tensor, weight: Tensor, bias: Tensor | None, exact: torch.dtype) -> Tensor:
    logits = linear(block, weight).to(exact)
    return torch.log_softmax(logits if bias is None else logits + bias, 1)


def _scaled(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(
        None if gradient is None else (gradient * above).to(dtype)
        for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
    )
