"""The recommender behind one small interface: loss of a batch, prefill, one decoding step.

    recommender = recommender_of(family, model, end_token=1)  # families.py
    loss = recommender.loss(batch)                         # training: loss.total / loss.count is the mean token loss
    state = recommender.prefill(input_ids, attention_mask, capacity=200)  # decoding: the prompt's keys, once per user
    hidden = recommender.step(state, tokens, parents)      # [users, beams, tokens, d]
    rows = recommender.output_rows(tokens.flatten())       # hidden @ rows.T are their logits,
    total = recommender.normaliser(hidden.flatten(0, 2))   # and this is the log-sum-exp over the whole vocabulary

Training and decoding know no more than `Recommender`. Two families stand behind it: encoder-decoders as in the paper
(`t5.EncoderDecoder` for T5, `bart.Bart`), and `causal.Causal`, of which one forward can supervise every
position of a history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from components.networks.cpu.linear import linear
from components.networks.t5 import output_scale
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


@dataclass(frozen=True)
class Soft:
    """Distributions over the vocabulary that stand at given places of a batch of prompts, instead of hard tokens."""

    rows: Tensor
    """[n] int64: row of the batch."""
    columns: Tensor
    """[n] int64: position in the row; the spans of `phrasings.Prompt` give it."""
    probabilities: Tensor
    """[m, vocabulary] probabilities (not log-probabilities); gradients flow through them."""
    steps: Tensor
    """[n] int64: row of `probabilities` that stands at each place; an item may stand in many prompts."""


class Recommender(Protocol):
    """What training and decoding need of a model. `State` belongs to the model: callers pass it back untouched."""

    start_token: int
    """Fed at the first step of decoding."""
    end_token: int
    """Ends every ID; the last token of every label row."""
    vocabulary_size: int

    @property
    def module(self) -> nn.Module:
        """The torch module: parameters, device, train/eval, saving."""
        ...

    def embed(self, input_ids: Tensor, soft: Soft | None = None) -> Tensor:
        """Embeddings [rows, S, d] of prompts; at the places of `soft`: probabilities x the embedding table."""
        ...

    def loss(self, batch: Batch, *, inputs_embeds: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
        """Loss of writing the labels of `batch`; `inputs_embeds` [rows, S, d] stands in for its `input_ids`."""
        ...

    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int) -> Any:
        """Read prompts [users, S]. `capacity`: most tokens that `step` will be given for a user, of all its beams."""
        ...

    def step(self, state: Any, tokens: Tensor, parents: Tensor) -> Tensor:
        """Append `tokens` [users, K, L] to the beams numbered `parents` [users, K] of the step before.

        L is 1, or more to score the rest of known IDs in one forward. Beams may be fewer or more than in the step
        before. The first step is given one beam a user, with `start_token` and parent 0. Returns hidden states
        [users, K, L, d].
        """
        ...

    def select(self, state: Any, users: Tensor) -> Any:
        """The state of the users numbered `users` [n] alone (finished users leave the batch)."""
        ...

    def output_rows(self, tokens: Tensor) -> Tensor:
        """Rows [n, d] of the output layer, float32, so that hidden @ rows.T are the logits of `tokens` [n]."""
        ...

    def normaliser(self, hidden: Tensor) -> Tensor:
        """Log-sum-exp [n] of all logits of hidden states [n, d], float32."""
        ...


class OverLibrary:
    """What every `Recommender` over a model of the library, `_model`, has in common."""

    _model: Any

    @property
    def module(self) -> nn.Module:
        return self._model

    def embed(self, input_ids: Tensor, soft: Soft | None = None) -> Tensor:
        return mixed(self._model.get_input_embeddings(), input_ids, soft)


def mixed(table: Any, input_ids: Tensor, soft: Soft | None) -> Tensor:
    """Embeddings [rows, S, d] of `input_ids` by `table`; at the places of `soft` its probabilities x the table.

    The table may have more rows than there are probabilities: checkpoints round their vocabulary up. BART's multiplies
    its rows by an `embed_scale`.
    """
    embeddings = table(input_ids)
    if soft is None:
        return embeddings
    weight = table.weight[: soft.probabilities.shape[1]]
    mixture = linear(soft.probabilities.to(weight.dtype), weight.T) * getattr(table, "embed_scale", 1.0)
    placed = mixture.to(embeddings.dtype).index_select(0, soft.steps)
    return embeddings.index_put((soft.rows, soft.columns), placed)


def loss_of(model: Any, batch: Batch, inputs_embeds: Tensor | None, *, start: int, label_smoothing: float) -> Loss:
    """`Recommender.loss` of a Hugging Face encoder-decoder whose decoder begins with the token `start`."""
    assert not batch.inline, "whole histories are for decoder-only models"
    prompt = {"input_ids": batch.input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
    encoded = model.get_encoder()(**prompt, attention_mask=batch.attention_mask).last_hidden_state
    hidden = decoder_states(model, shifted(batch.labels, start), encoded, batch.attention_mask)
    bias = getattr(model, "final_logits_bias", None)
    return taught(model.get_output_embeddings(), hidden, batch, bias=bias, label_smoothing=label_smoothing)


def decoder_states(model: Any, input_ids: Tensor, encoded: Tensor, attention_mask: Tensor) -> Tensor:
    """What the output layer of a Hugging Face encoder-decoder reads, [rows, T, d], as the library's forward has it."""
    hidden: Tensor = model.get_decoder()(
        input_ids=input_ids,
        encoder_hidden_states=encoded,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    ).last_hidden_state
    return hidden * output_scale(model.config)


def taught(head: Any, hidden: Tensor, batch: Batch, *, bias: Tensor | None = None, label_smoothing: float) -> Loss:
    """Loss of the labels of `batch` from what the output layer `head` reads before each, [rows, T, d]."""
    if batch.choices is not None:
        total = trie_loss(hidden, head.weight, batch.choices, bias=bias, label_smoothing=label_smoothing)
        return Loss(total, batch.target_tokens)
    total = output_loss(
        hidden, head.weight, batch.labels, count=batch.target_tokens, bias=bias, label_smoothing=label_smoothing
    )
    return Loss(total, batch.target_tokens)


def shifted(labels: Tensor, start: int) -> Tensor:
    """Decoder inputs for `labels` [rows, T]: the start token first, each label one step later.

    IGNORED becomes some token: what is written after it is not looked at.
    """
    return torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1].clamp(min=0)], 1)
