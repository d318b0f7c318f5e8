"""T5 and mT5 as language models, with an encoder and a decoder step that repeat nothing for every beam and layer.

model = T5(t5, end_token=1)                            # a T5ForConditionalGeneration or MT5ForConditionalGeneration
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.beam_cache import BeamCache
from components.networks.cpu import linear, log_sum_exp
from components.networks.encoder_decoder import EncoderDecoder

MODEL_TYPES = ("t5", "mt5")


class T5(EncoderDecoder):
    """A T5 (Raffel et al., 2020), T5 v1.1 or mT5 of Hugging Face."""

    def __init__(self, model: Any, *, end_token: int) -> None:
        super().__init__(model, end_token=end_token)
        self._heads = int(model.config.num_heads)

    @property
    def output_scale(self) -> float:
        """T5 v1.0 ties input and output embeddings and scales; v1.1 and mT5 do not."""
        config = self._model.config
        return float(config.d_model) ** -0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0

    @torch.no_grad()
    def step(self, cache: BeamCache, tokens: Tensor, parents: Tensor) -> Tensor:
        rows, beams, length = tokens.shape
        span = cache.paths.grow(parents, length)
        bias, places = cache.path_bias(length), cache.paths.flat(cache.keys[0].shape[1])
        hidden = self._model.decoder.embed_tokens(tokens.flatten(1))
        for number, block in enumerate(self._model.decoder.block):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(hidden)
            cache.keys[number][:, span], cache.values[number][:, span] = attention.k(normed), attention.v(normed)
            hidden = hidden + attention.o(cache.attend(number, attention.q(normed), places, bias))
            attention = block.layer[1].EncDecAttention
            normed = block.layer[1].layer_norm(hidden)
            read = cache.text_keys[number], cache.text_values[number]
            hidden = hidden + self._attend(attention, normed, *read, cache.text_bias)
            hidden = _feed_forward(block.layer[2], hidden)
        hidden = self._model.decoder.final_layer_norm(hidden)
        return hidden.view(rows, beams, length, -1)

    def step_logits(self, tokens: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight = self.output_layer.weight if tokens is None else self.output_layer.weight[tokens]
        return lambda hidden: linear(hidden * self.output_scale, weight)

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        return super().output_rows(tokens) * self.output_scale

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        return log_sum_exp(hidden.float() * self.output_scale, self.output_layer.weight.float())

    def _encode_without_gradient(self, prompt: Tensor, attention_mask: Tensor) -> Tensor:
        """The library's encoder adds position bias and mask anew in every layer."""
        encoder, width = self._model.encoder, prompt.shape[1]
        bias = encoder.block[0].layer[0].SelfAttention.compute_bias(width, width, device=prompt.device)
        bias = bias.masked_fill(attention_mask[:, None, None] == 0, float("-inf"))
        hidden = prompt if prompt.is_floating_point() else encoder.embed_tokens(prompt)
        for block in encoder.block:
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            keys, values = self._split(attention.k(normed)), self._split(attention.v(normed))
            hidden = _feed_forward(block.layer[1], hidden + self._attend(attention, normed, keys, values, bias))
        encoded: Tensor = encoder.final_layer_norm(hidden)
        return encoded

    def _text_projections(self) -> list[tuple[nn.Linear, nn.Linear]]:
        attentions = [block.layer[1].EncDecAttention for block in self._model.decoder.block]
        return [(attention.k, attention.v) for attention in attentions]

    def _distance_bias(self, capacity: int, like: Tensor) -> Tensor:
        first = self._model.decoder.block[0].layer[0].SelfAttention
        bias: Tensor = first.compute_bias(capacity, 1, device=like.device)[0, :, :, 0].flip(1)
        return bias

    def _attend(self, attention: Any, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        queries = self._split(attention.q(normed))
        # T5 does not scale the dot product: its initialisation does.
        bias = bias.to(queries.dtype)
        blend = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        output: Tensor = attention.o(blend.transpose(1, 2).flatten(2))
        return output


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
