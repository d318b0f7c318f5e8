"""Cross-entropy over the children of each trie node: the loss of an ID where only the trie's tokens can be written.

    total = trie_loss(hidden, head.weight, batch.choices)

A model that is always decoded over the trie, with `trie` scores, need not learn which tokens are legal. Its loss is
then minus the score that the beam search gives the target: a softmax at each node of a tree (Morin and Bengio,
"Hierarchical probabilistic neural network language model", AISTATS 2005), with one output row a token for all nodes.
On Amazon Beauty an ID costs 2,091 logits for its first token and 22 for all others, instead of 5.9 times 7,600.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from components.recommender.loss.output_loss import output_loss
from components.recommender.trie.choices import Choices
from components.recommender.trie.segment_softmax import segment_log_softmax


def trie_loss(
    hidden: Tensor, weight: Tensor, choices: Choices, *, bias: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Sum of the cross-entropies (nats) of all choices, scalar, at least float32.

    hidden [rows, T, d]: what the output layer reads before each label; weight [vocabulary, d]; bias [vocabulary] or
    [1, vocabulary], which gets no gradient. `label_smoothing` spreads its mass over the options. The product for the
    first tokens is rounded as autocast says, the rest is computed in at least float32.
    """
    hidden, bias = hidden.flatten(0, 1), None if bias is None else bias.flatten()
    first = output_loss(
        hidden.index_select(0, choices.first),
        weight.index_select(0, choices.opening),
        choices.first_labels,
        count=len(choices.first),
        bias=None if bias is None else bias[choices.opening],
        label_smoothing=label_smoothing,
    )
    learns = torch.is_grad_enabled()
    later: Tensor = _Options.apply(  # type: ignore[no-untyped-call]
        hidden.index_select(0, choices.later),
        weight,
        choices,
        bias,
        label_smoothing,
        (learns and hidden.requires_grad, learns and weight.requires_grad),
    )
    return first + later


class _Options(torch.autograd.Function):
    """The choices with few options, a block at a time, with their gradients at once as in `output_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        choices: Choices,
        bias: Tensor | None,
        smoothing: float,
        learns: tuple[bool, bool],
    ) -> Tensor:
        """hidden [k, d]: what is read before each choice."""
        exact = torch.promote_types(hidden.dtype, torch.float32)
        by_hidden = torch.zeros(hidden.shape, dtype=exact, device=hidden.device) if learns[0] else None
        by_weight = torch.zeros_like(weight, dtype=exact) if learns[1] else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start, stop, begin, end in choices.blocks:
            options, owners = choices.options[begin:end], choices.owners[begin:end]
            states, rows = hidden.index_select(0, owners).to(exact), weight.index_select(0, options).to(exact)
            logits = (states * rows).sum(1)
            if bias is not None:
                logits = logits + bias[options]
            chosen = choices.chosen[start:stop] - begin
            losses, gradient = _losses(logits, owners - start, chosen, smoothing)
            total += losses.sum(dtype=torch.float64)
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
        gradients = (
            None if gradient is None else (gradient * above).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*gradients, None, None, None, None)


def _losses(logits: Tensor, owners: Tensor, chosen: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy [k] of each choice, and its gradient by the logits [m]. owners [m]; chosen [k]."""
    logs = segment_log_softmax(logits, owners, len(chosen))
    losses = (smoothing - 1.0) * logs.index_select(0, chosen)
    gradient = logs.exp().index_add_(0, chosen, torch.full_like(losses, smoothing - 1.0))
    if smoothing:
        options = torch.zeros_like(losses).index_add(0, owners, torch.ones_like(logits))
        share = (smoothing / options).index_select(0, owners)
        losses = losses.index_add(0, owners, share * logs, alpha=-1)
        gradient -= share
    return losses, gradient
