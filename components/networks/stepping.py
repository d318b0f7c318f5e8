"""One decoder step at a time, for all beams of all items: what a beam search asks of an encoder-decoder.

The encoder runs once per item. T5 and mT5, which nearly every ID generator is, have a step of their own
(`t5.py`); every other model takes the library's.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from components.networks.cpu.linear import linear
from components.networks.t5 import MODEL_TYPES, T5


class Stepper(Protocol):
    """n items; first one row an item, then `beams` rows an item."""

    def first(self) -> Tensor:
        """States [n, x] that decide the first token."""
        ...

    def next(self, parents: Tensor, tokens: Tensor) -> Tensor:
        """States [n * beams, x] after `tokens` [n, beams], where beam b of item i goes on from its beam parents[i, b].

        At the first call all beams go on from the one row of their item.
        """
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Logits [rows, columns] of some rows of states, in the order of `columns`; where these are given, the caller
        may write into it."""
        ...


def encode(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, *, library: bool = False) -> Tensor:
    """The encoder's states [n, S, d] of the item texts. library: as in `stepper`."""
    if library or model.config.model_type not in MODEL_TYPES:
        return model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return T5(model).encode(input_ids, attention_mask)


def stepper(
    model: PreTrainedModel,
    encoded: Tensor,
    attention_mask: Tensor,
    *,
    beams: int,
    max_tokens: int,
    columns: Tensor | None = None,
    library: bool = False,
) -> Stepper:
    """The quickest stepper for a model that has read the item texts: encoded [n, S, d], attention_mask [n, S].

    columns: int [C], the tokens whose logits are wanted, in that order (null: all). library: take the library's forward
    even where there is a quicker one.
    """
    if library or model.config.model_type not in MODEL_TYPES:
        return LibraryStepper(model, encoded, attention_mask, columns=columns)
    return T5Stepper(model, encoded, attention_mask, columns=columns, capacity=1 + beams * max_tokens)


class T5Stepper:
    """`Stepper` by `t5.T5`; its states are hidden states [rows, d]."""

    def __init__(
        self, model: PreTrainedModel, encoded: Tensor, attention_mask: Tensor, *, columns: Tensor | None, capacity: int
    ) -> None:
        self._t5 = T5(model)
        self._state = self._t5.listen(encoded, attention_mask, capacity=capacity)
        weight: Tensor = model.get_output_embeddings().weight
        self._rows = weight if columns is None else weight[columns]

    def first(self) -> Tensor:
        parents = self._state.paths.slots.new_zeros(self._state.paths.slots.shape[1], 1)
        return self._step(torch.full_like(parents, self._t5.start_token), parents)

    def next(self, parents: Tensor, tokens: Tensor) -> Tensor:
        all_from_start = len(self._state.paths.slots) == 1
        return self._step(tokens, torch.zeros_like(parents) if all_from_start else parents)

    def logits(self, states: Tensor) -> Tensor:
        return linear(states * self._t5.scale, self._rows)

    def _step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        return self._t5.step(self._state, tokens[:, :, None], parents).flatten(0, 2)


class LibraryStepper:
    """The forward of any Hugging Face encoder-decoder, with its cache; its states are the logits themselves."""

    def __init__(
        self, model: PreTrainedModel, encoded: Tensor, attention_mask: Tensor, *, columns: Tensor | None
    ) -> None:
        self._model = model
        self._columns = columns
        self._mask = attention_mask
        self._encoded = encoded
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._start = int(model.config.decoder_start_token_id)

    def first(self) -> Tensor:
        return self._forward(self._mask.new_full((len(self._mask),), self._start, dtype=torch.long))

    def next(self, parents: Tensor, tokens: Tensor) -> Tensor:
        items, beams = parents.shape
        if beams > 1 and len(self._mask) == items:
            self._cache.batch_repeat_interleave(beams)
            self._mask = self._mask.repeat_interleave(beams, dim=0)
            self._encoded = self._encoded.repeat_interleave(beams, dim=0)
        elif beams > 1:
            rows = torch.arange(items, device=parents.device)[:, None] * beams + parents
            # The beams of an item share its encoder states: only what was written has to follow.
            self._cache.self_attention_cache.reorder_cache(rows.flatten())  # type: ignore[arg-type]
        return self._forward(tokens.flatten())

    def logits(self, states: Tensor) -> Tensor:
        return states if self._columns is None else states[:, self._columns]

    def _forward(self, tokens: Tensor) -> Tensor:
        return self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
