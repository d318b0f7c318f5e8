"""Cross-entropy of the labels of a batch under a language model, over the vocabulary or over the trie.

loss = batch_loss(model, batch)                        # loss.total / loss.count is the mean loss of a token
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.networks.interface import LanguageModel
from components.recommender.batches.batch import Batch
from components.recommender.loss.divergence import output_divergence, trie_divergence
from components.recommender.loss.output_loss import output_loss
from components.recommender.loss.soft_loss import soft_loss
from components.recommender.loss.trie_loss import trie_loss


@dataclass(frozen=True)
class Loss:
    """Sum of token losses and how many tokens they are of, so that ranks and accumulated batches average exactly."""

    total: Tensor
    """Sum of the cross-entropies of all target tokens (nats), scalar with gradient."""
    count: int
    """Target tokens in the sum."""


def batch_loss(
    model: LanguageModel,
    batch: Batch,
    *,
    embeddings: Tensor | None = None,
    label_smoothing: float = 0.0,
    before: LanguageModel | None = None,
    kl: float = 0.0,
) -> Loss:
    """Loss of writing the labels of `batch`; `embeddings` [rows, S, d] stand in for its `input_ids`.

    before: the model as it was, which does not learn; `kl` times the divergence from it is added (divergence.py).
    """
    prompt = batch.input_ids if embeddings is None else embeddings
    labels = None if batch.inline else batch.labels
    hidden = model.hidden_states(prompt, batch.attention_mask, labels)
    weight, bias = model.output_layer.weight, model.output_bias
    if batch.choices is not None:
        total = trie_loss(hidden, weight, batch.choices, bias=bias, label_smoothing=label_smoothing)
    else:
        count = batch.target_tokens
        total = output_loss(hidden, weight, batch.labels, count=count, bias=bias, label_smoothing=label_smoothing)
    if batch.soft is not None:
        total = total + (1.0 - label_smoothing) * soft_loss(hidden, weight, batch.soft, bias=bias)
    if before is not None and kl:
        with torch.no_grad():
            previous = before.hidden_states(batch.input_ids, batch.attention_mask, labels)
        outputs, old = (hidden, weight, previous, before.output_layer.weight), before.output_bias
        if batch.choices is not None:
            apart = trie_divergence(*outputs, batch.choices, bias=bias, before_bias=old)
        else:
            apart = output_divergence(*outputs, batch.labels, count=batch.target_tokens, bias=bias, before_bias=old)
        total = total + kl * apart
    return Loss(total, batch.target_tokens)
