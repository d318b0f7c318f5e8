"""Encoder-decoders of the T5 kind as recommenders: the encoder reads the history, the decoder writes the next ID.

recommender = EncoderDecoder(t5)                       # a T5ForConditionalGeneration or MT5ForConditionalGeneration
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.errors import BadInput
from components.recommender.batches.batch import Batch
from components.recommender.models.interface import Loss, Soft, loss_of, mixed
from components.recommender.models.normaliser import log_sum_exp
from components.textid.decoding.paths import Paths, look_back
from components.textid.decoding.t5 import feed_forward

_ENCODED = 8
"""Users encoded together on a CPU: of 64 of Beauty's, decoded by 32, 13 % of the tokens are padding and not 36 %."""

_WIDTH = 8
"""Prompts are cut to a multiple of this: oneDNN makes a kernel per shape (`normaliser.py`)."""


@dataclass
class State:
    """What a T5 decoder remembers of a batch of users; grown in place by `EncoderDecoder.step`."""

    cross_keys: list[Tensor]
    """Per layer [users, heads, S, d_kv], once per user: the beams share them."""
    cross_values: list[Tensor]
    cross_bias: Tensor
    """[users, 1, 1, S]: 0 where the prompt has a token, -inf at padding."""
    keys: list[Tensor]
    """Per layer [users, capacity, heads * d_kv], self-attention."""
    values: list[Tensor]
    paths: Paths


class EncoderDecoder:
    """`Recommender` over a T5-type encoder-decoder of Hugging Face (T5, mT5), whose weights it reads in place.

    Training and the encoder call the library's forward. The decoder's step is our own, because the library keeps
    cross-attention keys once per beam and copies all of them whenever beams change places.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        if config.model_type not in ("t5", "mt5"):
            raise BadInput(
                f"a {config.model_type} cannot be the recommender yet",
                where="train.backbone",
                mend="use a T5, mT5, BART or mBART (google-t5/t5-small), or backbone: scratch",
            )
        self._model = model
        self.start_token = int(config.decoder_start_token_id)
        self.end_token = int(config.eos_token_id)
        self.vocabulary_size = int(model.lm_head.weight.shape[0])
        self._heads = int(config.num_heads)
        # T5 v1.0 ties input and output embeddings and scales the hidden states; v1.1 and mT5 do not.
        scaled = bool(getattr(config, "scale_decoder_outputs", False))
        self._scale = float(config.d_model) ** -0.5 if scaled else 1.0

    @property
    def module(self) -> nn.Module:
        return self._model

    def embed(self, input_ids: Tensor, soft: Soft | None = None) -> Tensor:
        return mixed(self._model.get_input_embeddings(), input_ids, soft)

    def loss(self, batch: Batch, *, inputs_embeds: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
        return loss_of(self._model, batch, inputs_embeds, start=self.start_token, label_smoothing=label_smoothing)

    @torch.no_grad()
    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        return self.listen(self._encode_all(input_ids, attention_mask), attention_mask, capacity=capacity)

    @torch.no_grad()
    def listen(self, encoded: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        """`prefill` of texts whose encoder states [users, S, d] are known already."""
        users = len(encoded)
        keys, values, cross_keys, cross_values = [], [], [], []
        for block in self._model.decoder.block:
            attention = block.layer[1].EncDecAttention
            cross_keys.append(self._split(attention.k(encoded)))
            cross_values.append(self._split(attention.v(encoded)))
            shape = (users, capacity, attention.inner_dim)
            # Like the projections, not like `encoded`: under autocast they are bf16.
            keys.append(cross_keys[-1].new_empty(shape))
            values.append(cross_keys[-1].new_empty(shape))
        bias = torch.zeros(attention_mask.shape, device=encoded.device)
        bias = bias.masked_fill(attention_mask == 0, float("-inf"))[:, None, None, :]
        return State(cross_keys, cross_values, bias, keys, values, Paths.none(users, encoded.device))

    def _encode_all(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [users, S, d]; on a CPU of a few users at a time, whose padding is then little."""
        if input_ids.is_cuda:
            return self._encode(input_ids, attention_mask)
        parts, lengths = [], attention_mask.sum(1).numpy()  # there is no device to wait for
        for start in range(0, max(1, len(lengths)), _ENCODED):
            users = slice(start, start + _ENCODED)
            longest = int(lengths[users].max(initial=0))
            width = min(input_ids.shape[1], longest + -longest % _WIDTH)
            hidden = self._encode(input_ids[users, :width], attention_mask[users, :width])
            parts.append(functional.pad(hidden, (0, 0, 0, input_ids.shape[1] - width)))
        return torch.cat(parts)

    def _encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [users, S, d]. The library's encoder adds position bias and mask anew in every layer."""
        encoder, width = self._model.encoder, input_ids.shape[1]
        bias = encoder.block[0].layer[0].SelfAttention.compute_bias(width, width, device=input_ids.device)
        bias = bias.masked_fill(attention_mask[:, None, None] == 0, float("-inf"))
        hidden = encoder.embed_tokens(input_ids)
        for block in encoder.block:
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            keys, values = self._split(attention.k(normed)), self._split(attention.v(normed))
            hidden = feed_forward(block.layer[1], hidden + self._attend(attention, normed, keys, values, bias))
        return encoder.final_layer_norm(hidden)

    @torch.no_grad()
    def step(self, state: State, tokens: Tensor, parents: Tensor) -> Tensor:
        users, beams, length = tokens.shape
        span = state.paths.grow(parents, length)
        bias, rows = self._path_bias(state.paths, length), state.paths.rows(state.keys[0].shape[1])
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
            hidden = feed_forward(block.layer[2], hidden)
        hidden = self._model.decoder.final_layer_norm(hidden)
        return hidden.view(users, beams, length, -1)

    def select(self, state: State, users: Tensor) -> State:
        return State(
            [keys.index_select(0, users) for keys in state.cross_keys],
            [values.index_select(0, users) for values in state.cross_values],
            state.cross_bias[users],
            [keys.index_select(0, users) for keys in state.keys],
            [values.index_select(0, users) for values in state.values],
            state.paths.select(users),
        )

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        return self._model.lm_head.weight[tokens].float() * self._scale

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        return log_sum_exp(hidden.float() * self._scale, self._model.lm_head.weight.float())

    def _split(self, flat: Tensor) -> Tensor:
        """[users, n, heads * d_kv] -> [users, heads, n, d_kv]."""
        return flat.unflatten(2, (self._heads, -1)).transpose(1, 2)

    def _attend(self, attention: Any, normed: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        queries = self._split(attention.q(normed))
        # T5 does not scale the dot product: its initialisation does.
        bias = bias.to(queries.dtype)
        blend = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        return attention.o(blend.transpose(1, 2).flatten(2))

    def _path_bias(self, paths: Paths, length: int) -> Tensor:
        """Relative position bias [heads, length, depth] of the last tokens of a path, -inf at later ones."""
        first, depth = self._model.decoder.block[0].layer[0].SelfAttention, len(paths.slots)
        bias = first.compute_bias(depth, depth, device=paths.slots.device)[0, :, -length:]
        later = torch.ones(depth, depth, dtype=torch.bool, device=bias.device).triu(1)[-length:]
        return bias.masked_fill(later, float("-inf")).to(self._model.dtype)
