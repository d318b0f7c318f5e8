"""One decoder step at a time, for all beams of all items, on any Hugging Face encoder-decoder.

The encoder runs once per item; the keys and values of what was written are cached and follow their beams.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class Stepper:
    """Encoder output and cache of n items; first one row an item, then `beams` rows an item."""

    def __init__(self, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> None:
        self._model = model
        self._mask = attention_mask
        self._items = len(input_ids)
        self._encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._beams = 1
        self._start = int(model.config.decoder_start_token_id)

    @property
    def vocabulary_size(self) -> int:
        return int(self._model.get_output_embeddings().weight.shape[0])

    def first(self) -> Tensor:
        """Logits of the first token: [n, V]."""
        return self._forward(self._mask.new_full((self._items,), self._start, dtype=torch.long))

    def next(self, parents: Tensor, tokens: Tensor, beams: int) -> Tensor:
        """Logits after `tokens` [n * beams], where beam b of item i goes on from beam parents[i, b] of the item.

        Returns [n * beams, V].
        """
        if self._beams != beams:  # after the first step every beam has the same one parent
            self._cache.batch_repeat_interleave(beams)
            self._mask = self._mask.repeat_interleave(beams, dim=0)
            self._encoded = self._encoded.repeat_interleave(beams, dim=0)
            self._beams = beams
        else:
            offsets = torch.arange(self._items, device=parents.device)[:, None] * beams
            # The beams of an item share its encoder states: only what was written has to follow.
            rows = (offsets + parents).flatten()
            self._cache.self_attention_cache.reorder_cache(rows)  # type: ignore[arg-type]
        return self._forward(tokens)

    def _forward(self, tokens: Tensor) -> Tensor:
        return self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
