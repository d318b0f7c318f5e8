"""Decoder-only language models as recommenders: one text of items, each closed by the end token, that never ends.

    recommender = Causal(llama, end_token=tokenizer.eos_token_id)
    loss = recommender.loss(windows.collate(rows))         # every position of every history in one forward

The library's own layers do all the computing, in training as in decoding, so any model that keeps its conventions
(cache, four-dimensional mask, position ids) is exact. `step` writes all beams of a user into one row: a token's place
in its sequence and what it may see are said by its position id and its mask, not by where it stands in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from components.errors import BadInput
from components.networks.causal import check_causal
from components.networks.normaliser import log_sum_exp
from components.networks.reading import in_parts
from components.networks.slots import Slots
from components.recommender.batches.batch import Batch
from components.recommender.models.interface import Loss, OverLibrary, taught


@dataclass
class State:
    """What the model remembers of a batch of users; grown in place by `Causal.step`."""

    keys: list[Tensor]
    """Per layer [users, key heads, S + capacity, d_head]: the prompt once per user, then what its beams wrote."""
    values: list[Tensor]
    prompt: Tensor
    """[users, S] bool: true where the prompt has a token."""
    closing: Tensor
    """[users, 1, 1, d]: hidden states of the end token that closes each prompt; what the first step returns."""
    slots: Slots
    begun: bool = False
    """The first step is done."""


@dataclass
class _Writer:
    """What a layer takes for its cache: puts keys and values into their slots, gives back all there are."""

    state: State
    start: int

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        stop = self.start + keys.shape[2]
        own_keys, own_values = self.state.keys[layer_idx], self.state.values[layer_idx]
        own_keys[:, :, self.start : stop] = keys
        own_values[:, :, self.start : stop] = values
        return own_keys[:, :, :stop], own_values[:, :, :stop]


class Causal(OverLibrary):
    """`Recommender` over a Llama, Qwen or GPT-2 of Hugging Face. Prompts end with the end token (`Prompts.open_ended`),
    which is therefore what the model reads before it writes: `start_token` is `end_token`."""

    def __init__(self, model: Any, *, end_token: int) -> None:
        check_causal(model.config, where="train.backbone")
        self._model, self._body, self._head = model, model.base_model, model.get_output_embeddings()
        self.start_token = self.end_token = end_token
        self.vocabulary_size = int(self._head.weight.shape[0])
        self._positions = int(model.config.max_position_embeddings)

    def loss(self, batch: Batch, *, inputs_embeds: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
        embeddings = self.embed(batch.input_ids) if inputs_embeds is None else inputs_embeds
        # Padding on the right is never before a token: the causal mask alone hides it.
        hidden = self._read(embeddings) if batch.inline else self._after_prompts(batch, embeddings)
        return taught(self._head, hidden, batch, label_smoothing=label_smoothing)

    def _after_prompts(self, batch: Batch, embeddings: Tensor) -> Tensor:
        """Hidden states [rows, T, d] before each label, the labels being read after their prompts.

        They stand behind the padding; their position ids say that they follow the last token of the prompt.
        """
        rows, width = batch.input_ids.shape
        written = batch.labels[:, :-1].clamp(min=0)
        lengths = batch.attention_mask.sum(1, keepdim=True)
        places = torch.arange(width + written.shape[1], device=written.device).expand(rows, -1)
        hidden = self._read(
            torch.cat([embeddings, self.embed(written).to(embeddings.dtype)], 1),
            attention_mask=torch.cat([batch.attention_mask, torch.ones_like(written)], 1),
            position_ids=torch.where(places < width, places, places - width + lengths),
        )
        last = hidden.gather(1, (lengths - 1)[:, :, None].expand(-1, -1, hidden.shape[2]))
        return torch.cat([last, hidden[:, width:]], 1)

    @torch.no_grad()
    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        rows, width = input_ids.shape
        keys, values, closing = list[Tensor](), list[Tensor](), list[Tensor]()
        for part, columns in in_parts(attention_mask):
            cache: Any = DynamicCache()
            hidden = self._read(self.embed(input_ids[part, :columns]), past_key_values=cache, use_cache=True)
            last = attention_mask[part].sum(1) - 1
            closing.append(hidden[torch.arange(len(hidden), device=hidden.device), last])
            for place, layer in enumerate(cache.layers):
                if not part.start:
                    heads, size = layer.keys.shape[1], layer.keys.shape[3]
                    keys.append(layer.keys.new_empty(rows, heads, width + capacity, size))
                    values.append(layer.values.new_empty(rows, heads, width + capacity, size))
                for whole, read in ((keys[place], layer.keys), (values[place], layer.values)):
                    whole[part, :, :columns] = read
                    whole[part, :, columns:width].zero_()  # masked, yet it must be a number
        return State(
            keys=keys,
            values=values,
            prompt=attention_mask.bool(),
            closing=torch.cat(closing)[:, None, None],
            slots=Slots.none(rows, input_ids.device),
        )

    @torch.no_grad()
    def step(self, state: State, tokens: Tensor, parents: Tensor) -> Tensor:
        if not state.begun:  # the start token closes the prompt: `prefill` has read it
            state.begun = True
            return state.closing
        users, beams, length = tokens.shape
        width, used = state.prompt.shape[1], len(state.slots.depths)
        seen, fresh = state.slots.grow(parents, length)
        prompt = state.prompt[:, None].expand(-1, beams * length, -1)
        hidden = self._read(
            self.embed(tokens.flatten(1)),
            attention_mask=torch.cat([prompt, seen], 2)[:, None],
            position_ids=state.prompt.sum(1, keepdim=True) + state.slots.places[-len(fresh) :],
            past_key_values=_Writer(state, width + used),
            use_cache=True,
            deepest=width + fresh[-1] + 1,
        )
        return hidden.view(users, beams, length, -1)

    def select(self, state: State, users: Tensor) -> State:
        return State(
            [keys[users] for keys in state.keys],
            [values[users] for values in state.values],
            state.prompt[users],
            state.closing[users],
            state.slots.select(users),
            state.begun,
        )

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        return self._head.weight[tokens].float()

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        return log_sum_exp(hidden.float(), self._head.weight.float())

    def _read(self, embeddings: Tensor, *, deepest: int | None = None, **settings: Any) -> Tensor:
        """Hidden states [rows, n, d] of the library's forward; `deepest`: positions needed, if not n."""
        needed = embeddings.shape[1] if deepest is None else deepest
        if needed > self._positions:
            raise BadInput(
                f"a prompt and its ID take {needed} tokens, the model has {self._positions} positions",
                where="train.backbone",
                mend="lower train.max_history or index.max_tokens, or take a backbone with more positions",
            )
        return self._body(inputs_embeds=embeddings, **{"use_cache": False, **settings}).last_hidden_state
