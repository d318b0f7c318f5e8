"""Cross-entropy over the children of each trie node: the loss of an ID where only the trie's tokens can be written.

    total = trie_loss(hidden, head.weight, batch.choices)

A model that is always decoded over the trie, with `trie` scores, need not learn which tokens are legal. Its loss is
then minus the score that the beam search gives the target: a softmax at each node of a tree (Morin and Bengio,
"Hierarchical probabilistic neural network language model", AISTATS 2005), with one output row a token for all nodes.
On Amazon Beauty an ID costs 2,091 logits for its first token and 22 for all others, instead of 5.9 times 7,600.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from components.recommender.loss.at_once import Gradients
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

    def losses(block: Block, logits: Tensor) -> tuple[Tensor, Tensor]:
        chosen = choices.chosen[block.start : block.stop] - block.begin
        return _losses(logits, block.owners - block.start, chosen, label_smoothing)

    return first + sum_over_options(hidden.index_select(0, choices.later), weight, bias, choices, losses)


class Block(NamedTuple):
    """Choices start:stop that are computed together, and their options, which lie at `begin` among all options."""

    start: int
    stop: int
    begin: int
    options: Tensor
    """[m] int64: tokens."""
    owners: Tensor
    """[m] int64: the choice of each, from `start` on."""

    def products(self, hidden: Tensor, weight: Tensor, exact: torch.dtype) -> tuple[Tensor, Tensor]:
        """The state before each option and its row of the output layer, [m, d] each."""
        return hidden.index_select(0, self.owners).to(exact), weight.index_select(0, self.options).to(exact)


def sum_over_options(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    choices: Choices,
    terms: Callable[[Block, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """Sum over the choices with few options, a block at a time, with gradients by hidden [k, d] and weight.

    terms: of a block and the logits [m] of its options, what is summed, and its gradient by these logits.
    """
    exact = torch.promote_types(hidden.dtype, torch.float32)
    found = Gradients.of(hidden, weight, exact)
    with torch.no_grad():
        for start, stop, begin, end in choices.blocks:
            block = Block(start, stop, begin, choices.options[begin:end], choices.owners[begin:end])
            states, rows = block.products(hidden, weight, exact)
            logits = (states * rows).sum(1)
            values, gradient = terms(block, logits if bias is None else logits + bias[block.options])
            found.total += values.sum(dtype=torch.float64)
            if found.by_hidden is not None:
                found.by_hidden.index_add_(0, block.owners, rows.mul_(gradient[:, None]))
            if found.by_weight is not None:
                found.by_weight.index_add_(0, block.options, states.mul_(gradient[:, None]))
    return found.attached(hidden, weight)


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
