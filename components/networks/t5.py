"""The encoder and the decoder step of a T5, without what the library repeats for every beam and in every layer.

    t5 = T5(model)
    state = t5.listen(t5.encode(input_ids, mask), mask, capacity=1 + beams * steps)
    hidden = t5.step(state, tokens, parents)               # [n, beams, tokens, d]

Keys and values of a text are computed once per text and read by all of its beams (the library keeps them once per beam,
and copies all of them whenever beams change places). What the beams have written lies in slots that never move, of
which each beam gathers its own (`paths.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.paths import Paths, look_back

MODEL_TYPES = ("t5", "mt5")


@dataclass
class State:
    """What a decoder remembers of n texts; grown in place by `T5.step`."""

    cross_keys: list[Tensor]
    """Per layer [n, heads, S, d_kv], once per text: the beams share them."""
    cross_values: list[Tensor]
    cross_bias: Tensor
    """[n, 1, 1, S]: 0 where the text has a token, -inf at padding."""
    keys: list[Tensor]
    """Per layer [n, capacity, heads * d_kv], self-attention."""
    values: list[Tensor]
    behind: Tensor
    """[heads, capacity]: position bias by how far a token lies behind the one that asks, which is the last column."""
    paths: Paths


def output_scale(config: Any) -> float:
    """By what the decoder's states are multiplied before the output layer of a Hugging Face encoder-decoder.

    T5 v1.0 ties input and output embeddings and scales; v1.1, mT5 and BART do not.
    """
    return float(config.d_model) ** -0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0


class T5:
    """A T5 or mT5 of Hugging Face, whose weights it reads in place; without gradient and without dropout."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self._model = model
        self._heads = int(config.num_heads)
        self.start_token = int(config.decoder_start_token_id)
        self.scale = output_scale(config)

    @torch.no_grad()
    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [n, S, d] of texts. The library's encoder adds position bias and mask anew in every layer."""
        encoder, width = self._model.encoder, input_ids.shape[1]
        bias = encoder.block[0].layer[0].SelfAttention.compute_bias(width, width, device=input_ids.device)
        bias = bias.masked_fill(attention_mask[:, None, None] == 0, float("-inf"))
        hidden = encoder.embed_tokens(input_ids)
        for block in encoder.block:
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            keys, values = self._split(attention.k(normed)), self._split(attention.v(normed))
            hidden = _feed_forward(block.layer[1], hidden + self._attend(attention, normed, keys, values, bias))
        return encoder.final_layer_norm(hidden)

    @torch.no_grad()
    def listen(self, encoded: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        """Ready to write after texts of which these are the encoder's states [n, S, d].

        `capacity`: most tokens that `step` will be given for a text, of all its beams.
        """
        keys, values, cross_keys, cross_values = [], [], [], []
        for block in self._model.decoder.block:
            attention = block.layer[1].EncDecAttention
            cross_keys.append(self._split(attention.k(encoded)))
            cross_values.append(self._split(attention.v(encoded)))
            shape = (len(encoded), capacity, attention.inner_dim)
            # Like the projections, not like `encoded`: under autocast they are bf16.
            keys.append(cross_keys[-1].new_empty(shape))
            values.append(cross_keys[-1].new_empty(shape))
        bias = torch.zeros(attention_mask.shape, device=encoded.device)
        bias = bias.masked_fill(attention_mask == 0, float("-inf"))[:, None, None, :]
        first = self._model.decoder.block[0].layer[0].SelfAttention
        behind = first.compute_bias(capacity, 1, device=encoded.device)[0, :, :, 0].flip(1)
        paths = Paths.none(len(encoded), encoded.device)
        return State(cross_keys, cross_values, bias, keys, values, behind, paths)

    @torch.no_grad()
    def step(self, state: State, tokens: Tensor, parents: Tensor) -> Tensor:
        """Append `tokens` [n, K, L] to the beams numbered `parents` [n, K] of the step before: states [n, K, L, d].

        The first step is given one beam a text, with `start_token` and parent 0.
        """
        texts, beams, length = tokens.shape
        span = state.paths.grow(parents, length)
        bias, rows = _path_bias(state, length), state.paths.rows(state.keys[0].shape[1])
        hidden = self._model.decoder.embed_tokens(tokens.flatten(1))
        for layer, block in enumerate(self._model.decoder.block):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(hidden)
            keys, values = state.keys[layer], state.values[layer]
            keys[:, span], values[:, span] = attention.k(normed), attention.v(normed)
            hidden = hidden + attention.o(look_back(attention.q(normed), keys, values, rows, bias))
            attention = block.layer[1].EncDecAttention
            normed = block.layer[1].layer_norm(hidden)
            seen = state.cross_keys[layer], state.cross_values[layer]
            hidden = hidden + self._attend(attention, normed, *seen, state.cross_bias)
            hidden = _feed_forward(block.layer[2], hidden)
        hidden = self._model.decoder.final_layer_norm(hidden)
        return hidden.view(texts, beams, length, -1)

    def select(self, state: State, texts: Tensor) -> State:
        """The state of the texts numbered `texts` [n] alone."""
        return State(
            [keys.index_select(0, texts) for keys in state.cross_keys],
            [values.index_select(0, texts) for values in state.cross_values],
            state.cross_bias[texts],
            [keys.index_select(0, texts) for keys in state.keys],
            [values.index_select(0, texts) for values in state.values],
            state.behind,
            state.paths.select(texts),
        )

    def _split(self, flat: Tensor) -> Tensor:
        """[n, rows, heads * d_kv] -> [n, heads, rows, d_kv]."""
        return flat.unflatten(2, (self._heads, -1)).transpose(1, 2)

    def _attend(self, attention: Any, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        queries = self._split(attention.q(normed))
        # T5 does not scale the dot product: its initialisation does.
        bias = bias.to(queries.dtype)
        blend = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        return attention.o(blend.transpose(1, 2).flatten(2))


def _path_bias(state: State, length: int) -> Tensor:
    """Relative position bias [heads, length, depth] of the last tokens of a path, -inf at later ones."""
    depth = len(state.paths.slots)
    # The token before the last is one nearer to all that lies behind it: the same row, moved by one.
    moved = functional.pad(state.behind[:, -depth:], (0, length - 1), value=float("-inf"))
    return moved.unfold(1, depth, 1).flip(1)


def _feed_forward(layer: Any, hidden: Tensor) -> Tensor:
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
