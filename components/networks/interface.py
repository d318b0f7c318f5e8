"""One interface for every language model: hidden states to train it on known tokens, one step at a time to decode.

    model = language_model(llama, end_token=1)                # families.py
    hidden = model.hidden_states(input_ids, mask, labels)     # training: what the output layer reads before each label
    cache = model.prefill(input_ids, mask, capacity=200)      # decoding: the prompt is read once for all of its beams
    hidden = model.step(cache, tokens, parents)               # [rows, beams, tokens, d]
    logits = hidden @ model.output_rows(tokens).T
    total = model.normaliser(hidden.flatten(0, 2))            # log-sum-exp over the whole vocabulary

Vectors that are no tokens enter through `embed`, whose result `hidden_states` and `prefill` take instead of ids. The ID
generator and the recommender are both a `LanguageModel`; what is a loss and what is an ID, others know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from components.networks.cpu import linear, log_sum_exp

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Placed:
    """Vectors that stand at given positions of a batch of prompts, instead of token embeddings."""

    rows: Tensor
    """[n] int64: row of the batch."""
    columns: Tensor
    """[n] int64: position in the row."""
    vectors: Tensor
    """[m, d]; gradients flow through them."""
    which: Tensor
    """[n] int64: row of `vectors` that stands at each position; one vector may stand at many."""


class LanguageModel(ABC):
    """A Hugging Face model, whose weights are read in place.

    The cache of `prefill` belongs to the model: callers pass it back untouched.
    """

    start_token: int
    """Fed at the first step of decoding."""
    end_token: int
    """Ends every ID."""

    def __init__(self, model: Any, *, end_token: int) -> None:
        self._model, self.end_token = model, end_token

    @property
    def module(self) -> PreTrainedModel:
        """The torch module: parameters, device, train/eval, saving."""
        model: PreTrainedModel = self._model
        return model

    @property
    def output_layer(self) -> nn.Linear:
        """What turns hidden states into logits of the vocabulary; of a BART, `output_bias` is added."""
        layer: nn.Linear = self._model.get_output_embeddings()
        return layer

    @property
    def output_bias(self) -> Tensor | None:
        """[vocabulary], added to the logits; it does not learn. None where there is none."""
        return None

    @property
    def vocabulary_size(self) -> int:
        return int(self.output_layer.weight.shape[0])

    def embed(self, input_ids: Tensor, placed: Placed | None = None) -> Tensor:
        """Embeddings [rows, S, d] of tokens [rows, S], with the vectors of `placed` in their positions."""
        embeddings: Tensor = self._model.get_input_embeddings()(input_ids)
        if placed is None:
            return embeddings
        vectors = placed.vectors.to(embeddings.dtype).index_select(0, placed.which)
        return embeddings.index_put((placed.rows, placed.columns), vectors)

    @abstractmethod
    def hidden_states(self, prompt: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the output layer reads before each label, [rows, T, d], the labels being written after the prompt.

        prompt: ids [rows, S] or embeddings [rows, S, d], padded on the right; labels [rows, T] int64, negative at
        padding. Without labels, of a decoder-only model alone: after each position of the prompt, [rows, S, d].
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocabulary] of `hidden_states` [..., d], with gradient."""
        logits: Tensor = self.output_layer(hidden)
        return logits if self.output_bias is None else logits + self.output_bias

    @abstractmethod
    def prefill(self, prompt: Tensor, attention_mask: Tensor, *, capacity: int, rows_at_once: int = 0) -> Any:
        """Read prompts: ids [rows, S] or embeddings [rows, S, d]; returns the cache that `step` grows in place.

        capacity: most tokens that `step` will be given for a row, of all its beams. rows_at_once: how many rows a CPU
        reads together (`lengths.in_parts`; 0: all of them).
        """

    @abstractmethod
    def step(self, cache: Any, tokens: Tensor, parents: Tensor) -> Tensor:
        """Append `tokens` [rows, K, L] to the beams numbered `parents` [rows, K] of the step before.

        L is 1, or more to score the rest of known tokens in one forward. Beams may be fewer or more than in the step
        before. The first step is given one beam a row, with `start_token` and parent 0. Returns hidden states
        [rows, K, L, d].
        """

    @abstractmethod
    def select(self, cache: Any, rows: Tensor) -> Any:
        """The cache of the rows numbered `rows` [n] alone (finished users leave the batch)."""

    def step_logits(self, tokens: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """A function from hidden states of `step` [n, d] to their logits of `tokens` [c] (default: the vocabulary).

        Logits [n, c] are rounded as the model computes; those of `output_rows` are float32.
        """
        weight = self.output_layer.weight if tokens is None else self.output_layer.weight[tokens]
        return lambda hidden: linear(hidden, weight)

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        """Rows [n, d] of the output layer, float32, so that hidden states of `step` @ rows.T are logits of `tokens`
        [n]."""
        return self.output_layer.weight[tokens].float()

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        """Log-sum-exp [n] of all logits of hidden states of `step` [n, d], float32."""
        return log_sum_exp(hidden.float(), self.output_layer.weight.float())
