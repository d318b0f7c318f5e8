"""The decoder step of a T5, without what the library's step repeats for every beam.

Keys and values of the item text are computed once per item and read by all of its beams (the library keeps them once
per beam). What the beams have written lies in slots that never move, of which each beam gathers its own (`paths.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from components.textid.decoding.paths import Paths, look_back
from components.textid.networks.linear import linear


class T5Stepper:
    """`stepping.Stepper` over a T5 or mT5, whose weights it reads in place; its states are hidden states [rows, d]."""

    MODEL_TYPES = ("t5", "mt5")

    def __init__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        columns: Tensor,
        beams: int,
        max_tokens: int,
    ) -> None:
        t5: Any = model
        self._blocks, self._decoder = t5.decoder.block, t5.decoder
        self._heads = int(t5.config.num_heads)
        # T5 v1.0 ties input and output embeddings and scales the hidden states; v1.1 and mT5 do not.
        scaled = bool(getattr(t5.config, "scale_decoder_outputs", False))
        self._scale = float(t5.config.d_model) ** -0.5 if scaled else 1.0
        self._columns = t5.lm_head.weight[columns]
        self._start = int(t5.config.decoder_start_token_id)
        encoded = self._encode(t5.encoder, input_ids, attention_mask)
        self._cross = [self._keys_values(block.layer[1].EncDecAttention, encoded) for block in self._blocks]
        self._cross_bias = _closed(attention_mask == 0, encoded.dtype)[:, None, None]
        attention = self._blocks[0].layer[0].SelfAttention
        # [heads, steps, steps]: by the step that asks and the step that is asked.
        self._distance = attention.compute_bias(max_tokens + 1, max_tokens + 1, device=input_ids.device)[0]
        # A slot for the start token and for every beam of a step: [n, slots, heads * d_kv] a layer.
        shape = (len(input_ids), 1 + beams * max_tokens, attention.inner_dim)
        self._own = [(encoded.new_empty(shape), encoded.new_empty(shape)) for _ in self._blocks]
        self._paths = Paths.none(len(input_ids), input_ids.device)

    def first(self) -> Tensor:
        parents = self._paths.slots.new_zeros(len(self._cross_bias), 1)
        return self._forward(torch.full_like(parents, self._start), parents)

    def next(self, parents: Tensor, tokens: Tensor) -> Tensor:
        all_from_start = len(self._paths.slots) == 1
        return self._forward(tokens, torch.zeros_like(parents) if all_from_start else parents)

    def logits(self, states: Tensor) -> Tensor:
        return linear(states * self._scale, self._columns)

    def _forward(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Hidden states [n * beams, d] after one more token of every beam."""
        span = self._paths.grow(parents, 1)
        rows, depth = self._paths.rows(self._own[0][0].shape[1]), len(self._paths.slots)
        bias = self._distance[:, depth - 1 : depth, :depth].to(self._cross_bias.dtype)
        hidden = self._decoder.embed_tokens(tokens)
        for (keys, values), cross, block in zip(self._own, self._cross, self._blocks, strict=True):
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            keys[:, span], values[:, span] = attention.k(normed), attention.v(normed)
            hidden = hidden + attention.o(look_back(attention.q(normed), keys, values, rows, bias))
            attention, normed = block.layer[1].EncDecAttention, block.layer[1].layer_norm(hidden)
            hidden = hidden + self._attend(attention, normed, *cross, self._cross_bias)
            hidden = feed_forward(block.layer[2], hidden)
        return self._decoder.final_layer_norm(hidden).flatten(0, 1)

    def _encode(self, encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states of the texts [n, S, d]; the library adds position bias and mask anew in every layer."""
        width = input_ids.shape[1]
        bias = encoder.block[0].layer[0].SelfAttention.compute_bias(width, width, device=input_ids.device)
        hidden = encoder.embed_tokens(input_ids)
        bias = bias.to(hidden.dtype) + _closed(attention_mask == 0, hidden.dtype)[:, None, None]
        for block in encoder.block:
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            hidden = hidden + self._attend(attention, normed, *self._keys_values(attention, normed), bias)
            hidden = feed_forward(block.layer[1], hidden)
        return encoder.final_layer_norm(hidden)

    def _keys_values(self, attention: Any, states: Tensor) -> tuple[Tensor, Tensor]:
        return self._split(attention.k(states)), self._split(attention.v(states))

    def _attend(self, attention: Any, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        queries = self._split(attention.q(normed))
        # T5 does not scale the dot product: its initialisation does.
        blend = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        return attention.o(blend.transpose(1, 2).flatten(2))

    def _split(self, flat: Tensor) -> Tensor:
        """[n, rows, heads * d_kv] -> [n, heads, rows, d_kv]."""
        return flat.unflatten(2, (self._heads, -1)).transpose(1, 2)


def feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    """Hidden states after a T5 feed-forward layer, gated or not, without dropout."""
    dense, normed = layer.DenseReluDense, layer.layer_norm(hidden)
    if hasattr(dense, "wi_0"):
        inner = dense.act(dense.wi_0(normed)) * dense.wi_1(normed)
    elif isinstance(dense.act, nn.ReLU):
        inner = dense.wi(normed).relu_()  # in place: four times the width of the model, new pages cost as much
    else:
        inner = dense.act(dense.wi(normed))
    # The library may keep this one layer in float32.
    return hidden + dense.wo(inner.to(getattr(dense.wo, "weight", inner).dtype))


def _closed(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive mask: -inf where `hidden`, else 0."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
