"""The decoder step of a T5, without what the library's step repeats for every beam.

Keys and values of the item text are computed once per item and read by all of its beams (the library keeps them once
per beam). What the beams have written lies in slots that never move: a beam that goes on from another inherits the list
of slots that it may see, instead of a copy of keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from components.textid.linear import linear


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
        # One slot for the start token, then one for each beam of a step: [n, heads, slots, d_kv] a layer.
        shape = (len(input_ids), self._heads, 1 + beams * max_tokens, attention.key_value_proj_dim)
        self._own = [(keys.new_empty(shape), keys.new_empty(shape)) for keys, _ in self._cross]
        # [n, beams, slots in use]: those that a beam descends from, itself included.
        self._ancestors = torch.ones(len(input_ids), 1, 1, dtype=torch.bool, device=input_ids.device)
        self._steps = torch.zeros(1, dtype=torch.long, device=input_ids.device)

    def first(self) -> Tensor:
        return self._forward(self._steps.new_full((len(self._cross_bias), 1), self._start))

    def next(self, parents: Tensor, tokens: Tensor) -> Tensor:
        items, beams = parents.shape
        if len(self._steps) == 1:  # all beams come from the start token
            parents = torch.zeros_like(parents)
        inherited = self._ancestors.gather(1, parents[:, :, None].expand(-1, -1, len(self._steps)))
        own = torch.eye(beams, dtype=torch.bool, device=parents.device).expand(items, -1, -1)
        self._ancestors = torch.cat([inherited, own], dim=2)
        self._steps = torch.cat([self._steps, (self._steps[-1:] + 1).expand(beams)])
        return self._forward(tokens)

    def logits(self, states: Tensor) -> Tensor:
        return linear(states * self._scale, self._columns)

    def _forward(self, tokens: Tensor) -> Tensor:
        """Hidden states [n * beams, d] after one more token of every beam."""
        used = len(self._steps)
        bias = self._distance[:, self._steps[-1:], self._steps].to(self._cross_bias.dtype)  # [heads, slots]
        bias = bias[:, None] + _closed(~self._ancestors, bias.dtype)[:, None]  # [n, heads, beams, slots]
        hidden = self._decoder.embed_tokens(tokens)
        for layer, block in enumerate(self._blocks):
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            for written, fresh in zip(self._own[layer], self._keys_values(attention, normed), strict=True):
                written[:, :, used - tokens.shape[1] : used] = fresh
            keys, values = (written[:, :, :used] for written in self._own[layer])
            hidden = hidden + self._attend(attention, normed, keys, values, bias)
            attention, normed = block.layer[1].EncDecAttention, block.layer[1].layer_norm(hidden)
            hidden = hidden + self._attend(attention, normed, *self._cross[layer], self._cross_bias)
            hidden = block.layer[2](hidden)
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
            hidden = block.layer[1](hidden)
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


def _closed(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive mask: -inf where `hidden`, else 0."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
