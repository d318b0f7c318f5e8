"""Divergence of a model from what it was before: the sum over label tokens of KL(before || now).

    total = output_divergence(hidden, head.weight, previous_hidden, previous_head.weight, labels, count=taught)
    total = trie_divergence(hidden, head.weight, previous_hidden, previous_head.weight, batch.choices)

A model that is trained further on few new samples keeps what it has learned if its probabilities are held near those
that it had (Li and Hoiem, "Learning without Forgetting", 2016). Computed a block of rows at a time with its gradients,
as the losses beside it (output_loss.py, trie_loss.py); nothing flows into the model before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.networks.cpu import linear, weight_gradient
from components.recommender.loss.at_once import Gradients
from components.recommender.loss.output_loss import height, product_dtype, taught_rows
from components.recommender.loss.trie_loss import Block, sum_over_options
from components.recommender.trie.choices import Choices
from components.recommender.trie.segment_softmax import segment_log_softmax


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
    hidden, before, before_weight = hidden.flatten(0, -2), before.detach().flatten(0, -2), before_weight.detach()
    dtype = product_dtype(hidden)
    exact = torch.promote_types(dtype, torch.float32)
    found = Gradients.of(hidden, weight, exact, by_hidden=hidden.dtype)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        rounded, before_rounded = weight.to(dtype), before_weight.to(dtype)
        for rows in taught_rows(labels.flatten(), count).split(height(weight)):
            counted, at = (rows >= 0).to(exact)[:, None], rows.clamp(min=0)
            block = hidden[at].to(dtype)
            now = _logs(block, rounded, bias, exact)
            then = _logs(before[at].to(dtype), before_rounded, before_bias, exact)
            share = then.exp()
            found.total += (share * (then - now) * counted).sum(dtype=torch.float64)
            above = ((now.exp() - share) * counted).to(dtype)
            if found.by_hidden is not None:
                found.by_hidden.index_add_(0, at, linear(above, rounded.T).to(hidden.dtype))
            if found.by_weight is not None:
                found.by_weight += weight_gradient(above, block)
    return found.attached(hidden, weight)


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
    hidden, before = now.index_select(0, choices.later), old.index_select(0, choices.later)
    exact = torch.promote_types(hidden.dtype, torch.float32)

    def divergences(block: Block, logits: Tensor) -> tuple[Tensor, Tensor]:
        states, rows = block.products(before, before_weight, exact)
        before_logits = (states * rows).sum(1)
        if biases[1] is not None:
            before_logits += biases[1][block.options]
        owners, count = block.owners - block.start, block.stop - block.start
        now, then = (segment_log_softmax(each, owners, count) for each in (logits, before_logits))
        share = then.exp()
        return share * (then - now), now.exp() - share

    return first + sum_over_options(hidden, weight, biases[0], choices, divergences)


def _logs(block: Tensor, weight: Tensor, bias: Tensor | None, exact: torch.dtype) -> Tensor:
    logits = linear(block, weight).to(exact)
    return torch.log_softmax(logits if bias is None else logits + bias, 1)
