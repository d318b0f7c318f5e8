"""BART and mBART as language models: learned positions, biased projections and an output bias.

model = Bart(bart, end_token=2)                        # a BartForConditionalGeneration or MBartForConditionalGeneration
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.errors import BadInput
from components.networks.beam_cache import BeamCache
from components.networks.cpu import linear, log_sum_exp
from components.networks.encoder_decoder import EncoderDecoder

MODEL_TYPES = ("bart", "mbart")
"""They differ in where the norms stand."""


class Bart(EncoderDecoder):
    """A BART (Lewis et al., 2020) or mBART of Hugging Face.

    Where the model has an output bias, hidden states of `step` carry a last column of ones, and output rows carry the
    bias there.
    """

    def __init__(self, model: Any, *, end_token: int) -> None:
        super().__init__(model, end_token=end_token)
        config, self._decoder = model.config, model.model.decoder
        self._heads = int(config.decoder_attention_heads)
        self._positions = int(config.max_position_embeddings)
        # BART normalises what a layer gives back, mBART what it gets (and once more at the end).
        self._norm_first = config.model_type == "mbart"
        # Zero in every BART of its authors, and no parameter: looked at once.
        self._biased = bool(model.final_logits_bias.any())

    @property
    def output_bias(self) -> Tensor | None:
        bias: Tensor = self._model.final_logits_bias[0]
        return bias

    def encode(self, prompt: Tensor, attention_mask: Tensor) -> Tensor:
        self._check_positions(prompt.shape[1])
        return super().encode(prompt, attention_mask)

    def decode(self, encoded: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        self._check_positions(labels.shape[1])
        return super().decode(encoded, attention_mask, labels)

    @torch.no_grad()
    def step(self, cache: BeamCache, tokens: Tensor, parents: Tensor) -> Tensor:
        rows, beams, length = tokens.shape
        begin = cache.paths.depth
        self._check_positions(begin + length)
        span = cache.paths.grow(parents, length)
        bias, places = cache.path_bias(length), cache.paths.flat(cache.keys[0].shape[1])
        positions = torch.arange(begin, begin + length, device=tokens.device).repeat(beams)
        hidden = self._decoder.embed_tokens(tokens.flatten(1))
        hidden = hidden + self._decoder.embed_positions(tokens.flatten(1), position_ids=positions)
        hidden = self._decoder.layernorm_embedding(hidden)
        for number in range(len(self._decoder.layers)):
            hidden = self._layer(number, hidden, cache, span, places, bias)
        if self._norm_first:
            hidden = self._decoder.layer_norm(hidden)
        if self._biased:
            hidden = functional.pad(hidden, (0, 1), value=1.0)
        return hidden.view(rows, beams, length, -1)

    def _layer(
        self, number: int, hidden: Tensor, cache: BeamCache, span: slice, places: Tensor, bias: Tensor
    ) -> Tensor:
        """One decoder layer over the tokens of this step [rows, n, d], whose keys go to the slots `span`."""
        layer = self._decoder.layers[number]

        def self_attention(normed: Tensor) -> Tensor:
            attention = layer.self_attn
            cache.keys[number][:, span] = attention.k_proj(normed)
            cache.values[number][:, span] = attention.v_proj(normed)
            queries = attention.q_proj(normed) * attention.scaling
            return attention.out_proj(cache.attend(number, queries, places, bias))

        def cross_attention(normed: Tensor) -> Tensor:
            attention = layer.encoder_attn
            queries, keys, values = (
                self._split(attention.q_proj(normed)),
                cache.text_keys[number],
                cache.text_values[number],
            )
            seen = cache.text_bias.to(queries.dtype)
            blend = functional.scaled_dot_product_attention(queries, keys, values, seen)
            return attention.out_proj(blend.transpose(1, 2).flatten(2))

        def feed_forward(normed: Tensor) -> Tensor:
            return layer.fc2(layer.activation_fn(layer.fc1(normed)))

        hidden = self._add(hidden, layer.self_attn_layer_norm, self_attention)
        hidden = self._add(hidden, layer.encoder_attn_layer_norm, cross_attention)
        return self._add(hidden, layer.final_layer_norm, feed_forward)

    def _add(self, hidden: Tensor, norm: nn.Module, change: Callable[[Tensor], Tensor]) -> Tensor:
        """One sublayer with its residual and its norm."""
        return hidden + change(norm(hidden)) if self._norm_first else norm(hidden + change(hidden))

    def step_logits(self, tokens: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight, bias = self.output_layer.weight, self._model.final_logits_bias[0]
        if tokens is not None:
            weight, bias = weight[tokens], bias[tokens]
        if self._biased:
            weight = torch.cat([weight, bias[:, None].to(weight.dtype)], 1)
        return lambda hidden: linear(hidden, weight)

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        rows = super().output_rows(tokens)
        return torch.cat([rows, self._model.final_logits_bias[0, tokens, None].float()], 1) if self._biased else rows

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        weight = self.output_layer.weight.float()
        if self._biased:
            weight = torch.cat([weight, self._model.final_logits_bias.float().T], 1)
        return log_sum_exp(hidden.float(), weight)

    def _text_projections(self) -> list[tuple[nn.Linear, nn.Linear]]:
        attentions = [layer.encoder_attn for layer in self._decoder.layers]
        return [(attention.k_proj, attention.v_proj) for attention in attentions]

    def _check_positions(self, needed: int) -> None:
        if needed > self._positions:
            raise BadInput(
                f"a prompt or an ID takes {needed} tokens, the model has {self._positions} positions",
                where="train.backbone",
                mend="lower train.max_history or index.max_tokens, or take a backbone with more positions",
            )
