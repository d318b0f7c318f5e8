"""BART and mBART as recommenders: encoder-decoders with learned positions, biased projections and an output bias.

recommender = Bart(bart)                               # a BartForConditionalGeneration or MBartForConditionalGeneration
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.errors import BadInput
from components.networks.normaliser import log_sum_exp
from components.networks.slots import Slots
from components.recommender.batches.batch import Batch
from components.recommender.models.interface import Loss, OverLibrary, loss_of

BARTS = ("bart", "mbart")
"""Model types; they differ in where the norms stand."""


@dataclass
class State:
    """What a BART decoder remembers of a batch of users; grown in place by `Bart.step`."""

    cross_keys: list[Tensor]
    """Per layer [users, heads, S, d_head], once per user: the beams share them."""
    cross_values: list[Tensor]
    prompt: Tensor
    """[users, 1, 1, S] bool: true where the prompt has a token."""
    keys: list[Tensor]
    """Per layer [users, heads, capacity, d_head], self-attention."""
    values: list[Tensor]
    slots: Slots


class Bart(OverLibrary):
    """`Recommender` over a BART-type encoder-decoder of Hugging Face, whose weights it reads in place.

    As for T5, training and the encoder call the library's forward and the decoder's step is our own. Where the model
    has an output bias, hidden states carry a last column of ones and output rows carry the bias there.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        self._model, self._decoder = model, model.model.decoder
        self.start_token = int(config.decoder_start_token_id)
        self.end_token = int(config.eos_token_id)
        self.vocabulary_size = int(model.lm_head.weight.shape[0])
        self._heads = int(config.decoder_attention_heads)
        self._positions = int(config.max_position_embeddings)
        # BART normalises what a layer gives back, mBART what it gets (and once more at the end).
        self._norm_first = config.model_type == "mbart"
        # Zero in every BART of its authors, and no parameter: looked at once.
        self._biased = bool(model.final_logits_bias.any())

    def loss(self, batch: Batch, *, inputs_embeds: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
        self._check_positions(max(batch.input_ids.shape[1], batch.labels.shape[1]))
        return loss_of(self._model, batch, inputs_embeds, start=self.start_token, label_smoothing=label_smoothing)

    @torch.no_grad()
    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        self._check_positions(input_ids.shape[1])
        encoder = self._model.model.encoder
        encoded = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        attentions = [layer.encoder_attn for layer in self._decoder.layers]
        keys = [self._split(attention.k_proj(encoded)) for attention in attentions]
        values = [self._split(attention.v_proj(encoded)) for attention in attentions]
        users, heads, _, width = keys[0].shape
        # Like the projections, not like `encoded`: under autocast they are bf16.
        own_keys, own_values = ([each.new_empty(users, heads, capacity, width) for each in keys] for _ in range(2))
        prompt = attention_mask.bool()[:, None, None]
        return State(keys, values, prompt, own_keys, own_values, Slots.none(users, encoded.device))

    @torch.no_grad()
    def step(self, state: State, tokens: Tensor, parents: Tensor) -> Tensor:
        users, beams, length = tokens.shape
        used = len(state.slots.depths)
        seen, fresh = state.slots.grow(parents, length)
        self._check_positions(fresh[-1] + 1)
        seen, span = seen[:, None], slice(used, used + beams * length)
        places = state.slots.places[-len(fresh) :]
        hidden = self._decoder.embed_tokens(tokens.flatten(1))
        hidden = self._decoder.layernorm_embedding(
            hidden + self._decoder.embed_positions(tokens.flatten(1), position_ids=places)
        )
        for number in range(len(self._decoder.layers)):
            hidden = self._layer(number, hidden, state, seen, span)
        if self._norm_first:
            hidden = self._decoder.layer_norm(hidden)
        if self._biased:
            hidden = functional.pad(hidden, (0, 1), value=1.0)
        return hidden.view(users, beams, length, -1)

    def _layer(self, number: int, hidden: Tensor, state: State, seen: Tensor, span: slice) -> Tensor:
        """One decoder layer over the tokens of this step [users, n, d], whose keys go to the slots `span`."""
        layer = self._decoder.layers[number]
        keys, values = state.keys[number], state.values[number]

        def look_back(normed: Tensor) -> Tensor:
            keys[:, :, span] = self._split(layer.self_attn.k_proj(normed))
            values[:, :, span] = self._split(layer.self_attn.v_proj(normed))
            return self._attend(layer.self_attn, normed, keys[:, :, : span.stop], values[:, :, : span.stop], seen)

        def look_across(normed: Tensor) -> Tensor:
            read = state.cross_keys[number], state.cross_values[number]
            return self._attend(layer.encoder_attn, normed, *read, state.prompt)

        def think(normed: Tensor) -> Tensor:
            return layer.fc2(layer.activation_fn(layer.fc1(normed)))

        hidden = self._add(hidden, layer.self_attn_layer_norm, look_back)
        hidden = self._add(hidden, layer.encoder_attn_layer_norm, look_across)
        return self._add(hidden, layer.final_layer_norm, think)

    def select(self, state: State, users: Tensor) -> State:
        return State(
            [keys[users] for keys in state.cross_keys],
            [values[users] for values in state.cross_values],
            state.prompt[users],
            [keys[users] for keys in state.keys],
            [values[users] for values in state.values],
            state.slots.select(users),
        )

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        rows = self._model.lm_head.weight[tokens].float()
        return torch.cat([rows, self._model.final_logits_bias[0, tokens, None].float()], 1) if self._biased else rows

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        weight = self._model.lm_head.weight.float()
        if self._biased:
            weight = torch.cat([weight, self._model.final_logits_bias.float().T], 1)
        return log_sum_exp(hidden.float(), weight)

    def _add(self, hidden: Tensor, norm: nn.Module, change: Callable[[Tensor], Tensor]) -> Tensor:
        """One sublayer with its residual and its norm."""
        return hidden + change(norm(hidden)) if self._norm_first else norm(hidden + change(hidden))

    def _split(self, flat: Tensor) -> Tensor:
        """[users, n, d] -> [users, heads, n, d_head]."""
        return flat.unflatten(2, (self._heads, -1)).transpose(1, 2)

    def _attend(self, attention: Any, normed: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        blend = functional.scaled_dot_product_attention(self._split(attention.q_proj(normed)), keys, values, seen)
        return attention.out_proj(blend.transpose(1, 2).flatten(2))

    def _check_positions(self, needed: int) -> None:
        if needed > self._positions:
            raise BadInput(
                f"a prompt or an ID takes {needed} tokens, the model has {self._positions} positions",
                where="train.backbone",
                mend="lower train.max_history or index.max_tokens, or take a backbone with more positions",
            )
