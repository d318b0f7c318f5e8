"""Decoder-only language models: Llama, Qwen2, Qwen3 and GPT-2.

    model = Causal(llama, end_token=tokenizer.eos_token_id)
    hidden = model.hidden_states(input_ids, mask)          # every position of every text in one forward

The library's own layers do all the computing, in training as in decoding, so any model that keeps its conventions
(cache, four-dimensional mask, position ids) is exact. `step` writes all beams of a prompt into one row: a token's place
in its sequence and what it may see are said by its position id and its mask, not by where it stands in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.errors import BadInput
from components.networks.interface import LanguageModel
from components.networks.lengths import in_parts
from components.networks.slots import Slots

MODEL_TYPES = ("llama", "qwen2", "qwen3", "gpt2")
"""Model types whose decoding is tested to equal the library's."""


@dataclass
class CausalCache:
    """What the model remembers of a batch of prompts; grown in place by `Causal.step`."""

    keys: list[Tensor]
    """Per layer [rows, key heads, S + capacity, d_head]: the prompt once per row, then what its beams wrote."""
    values: list[Tensor]
    prompt: Tensor
    """[rows, S] bool: true where the prompt has a token."""
    closing: Tensor
    """[rows, 1, 1, d]: hidden states of the token that closes each prompt; what the first step returns."""
    slots: Slots
    begun: bool = False
    """The first step is done."""


@dataclass
class _SlotWriter:
    """What a layer of the library takes for its cache: puts keys and values into their slots, returns all so far."""

    cache: CausalCache
    start: int

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        stop = self.start + keys.shape[2]
        own_keys, own_values = self.cache.keys[layer_idx], self.cache.values[layer_idx]
        own_keys[:, :, self.start : stop] = keys
        own_values[:, :, self.start : stop] = values
        return own_keys[:, :, :stop], own_values[:, :, :stop]


class Causal(LanguageModel):
    """A Llama, Qwen or GPT-2 of Hugging Face.

    Prompts end with the end token, which is therefore what the model reads before it writes: `start_token` is
    `end_token`.
    """

    def __init__(self, model: Any, *, end_token: int) -> None:
        super().__init__(model, end_token=end_token)
        self.start_token, self._body = end_token, model.base_model
        self._positions = int(model.config.max_position_embeddings)

    def hidden_states(self, prompt: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Tensor:
        embeddings = self._embedded(prompt)
        # Padding on the right is never before a token: the causal mask alone hides it.
        return self._read(embeddings) if labels is None else self._after_prompts(embeddings, attention_mask, labels)

    def _after_prompts(self, embeddings: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """Hidden states [rows, T, d] before each label, the labels being read after their prompts.

        They stand behind the padding; their position ids say that they follow the last token of the prompt.
        """
        rows, width = attention_mask.shape
        written = labels[:, :-1].clamp(min=0)
        lengths = attention_mask.sum(1, keepdim=True)
        places = torch.arange(width + written.shape[1], device=written.device).expand(rows, -1)
        hidden = self._read(
            torch.cat([embeddings, self.embed(written).to(embeddings.dtype)], 1),
            attention_mask=torch.cat([attention_mask, torch.ones_like(written)], 1),
            position_ids=torch.where(places < width, places, places - width + lengths),
        )
        last = hidden.gather(1, (lengths - 1)[:, :, None].expand(-1, -1, hidden.shape[2]))
        return torch.cat([last, hidden[:, width:]], 1)

    @torch.no_grad()
    def prefill(self, prompt: Tensor, attention_mask: Tensor, *, capacity: int, rows_at_once: int = 0) -> CausalCache:
        rows, width = attention_mask.shape
        keys, values, closing = list[Tensor](), list[Tensor](), list[Tensor]()
        for part, columns in in_parts(attention_mask, rows_at_once):
            cache = self._empty_cache()
            hidden = self._read(self._embedded(prompt[part, :columns]), past_key_values=cache, use_cache=True)
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
        return CausalCache(
            keys=keys,
            values=values,
            prompt=attention_mask.bool(),
            closing=torch.cat(closing)[:, None, None],
            slots=Slots.none(rows, prompt.device),
        )

    @torch.no_grad()
    def step(self, cache: CausalCache, tokens: Tensor, parents: Tensor) -> Tensor:
        if not cache.begun:  # the start token closes the prompt: `prefill` has read it
            cache.begun = True
            return cache.closing
        rows, beams, length = tokens.shape
        width, used = cache.prompt.shape[1], len(cache.slots.depths)
        seen, fresh = cache.slots.grow(parents, length)
        prompt = cache.prompt[:, None].expand(-1, beams * length, -1)
        hidden = self._read(
            self.embed(tokens.flatten(1)),
            attention_mask=torch.cat([prompt, seen], 2)[:, None],
            position_ids=cache.prompt.sum(1, keepdim=True) + cache.slots.places[-len(fresh) :],
            past_key_values=_SlotWriter(cache, width + used),
            use_cache=True,
            deepest=width + fresh[-1] + 1,
        )
        return hidden.view(rows, beams, length, -1)

    def select(self, cache: CausalCache, rows: Tensor) -> CausalCache:
        return CausalCache(
            [keys[rows] for keys in cache.keys],
            [values[rows] for values in cache.values],
            cache.prompt[rows],
            cache.closing[rows],
            cache.slots.select(rows),
            cache.begun,
        )

    def _empty_cache(self) -> Any:
        """The library's; a lean network has its own, and does without the library."""
        if hasattr(self._model, "empty_cache"):
            return self._model.empty_cache()
        from transformers import DynamicCache

        return DynamicCache()

    def _embedded(self, prompt: Tensor) -> Tensor:
        return prompt if prompt.is_floating_point() else self.embed(prompt)

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
