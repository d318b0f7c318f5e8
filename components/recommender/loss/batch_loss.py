"""Cross-entropy of the labels of a batch under a language model, over the vocabulary or over the trie.

loss = batch_loss(model, batch)                        # loss.total / loss.count is the mean loss of a token
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from components.networks.interface import LanguageModel
from components.recommender.batches.batch import Batch
from components.recommender.loss.output_loss import output_loss
from components.recommender.loss.trie_loss import trie_loss


@dataclass(frozen=True)
class Loss:
    """Sum of token losses and how many tokens they are of, so that ranks and accumulated batches average exactly."""

    total: Tensor
    """Sum of the cross-entropies of all target tokens (nats), scalar with gradient."""
    count: int
    """Target tokens in the sum."""


def batch_loss(
    model: LanguageModel, batch: Batch, *, embeddings: Tensor | None = None, label_smoothing: float = 0.0
) -> Loss:
    """Loss of writing the labels of `batch`; `embeddings` [rows, S, d] stand in for its `input_ids`."""
    prompt = batch.input_ids if embeddings is None else embeddings
    hidden = model.hidden_states(prompt, batch.attention_mask, None if batch.inline else batch.labels)
    weight, bias = model.output_layer.weight, model.output_bias
    if batch.choices is not None:
        total = trie_loss(hidden, weight, batch.choices, bias=bias, label_smoothing=label_smoothing)
    else:
        count = batch.target_tokens
        total = output_loss(hidden, weight, batch.labels, count=count, bias=bias, label_smoothing=label_smoothing)
    return Loss(total, batch.target_tokens)
