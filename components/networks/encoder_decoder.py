"""What T5 and BART share as a `LanguageModel`: the encoder reads a text, the decoder writes after it.

    encoded = model.encode(input_ids, mask)                     # with gradient, by the library
    hidden = model.decode(encoded, mask, labels)                # of all labels in one forward, with gradient
    cache = model.prefill_encoded(encoded, mask, capacity=11)   # to step the decoder after the same text

Training calls the library's forward. The decoder's step is our own: the library keeps the keys and values of a text
once per beam, and copies all of them whenever beams change places.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.beam_cache import BeamCache, BeamPaths
from components.networks.interface import LanguageModel
from components.networks.lengths import in_parts


class EncoderDecoder(LanguageModel):
    """An encoder-decoder of Hugging Face."""

    _heads: int
    """Of the decoder."""

    def __init__(self, model: Any, *, end_token: int) -> None:
        super().__init__(model, end_token=end_token)
        self.start_token = int(model.config.decoder_start_token_id)

    @property
    def output_scale(self) -> float:
        """By what the decoder's states are multiplied before the output layer."""
        return 1.0

    def encode(self, prompt: Tensor, attention_mask: Tensor) -> Tensor:
        """The encoder's states [rows, S, d] of ids [rows, S] or embeddings [rows, S, d]."""
        read = {"inputs_embeds" if prompt.is_floating_point() else "input_ids": prompt}
        encoded: Tensor = self._model.get_encoder()(**read, attention_mask=attention_mask).last_hidden_state
        return encoded

    def decode(self, encoded: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """`hidden_states` after a text that the encoder has read."""
        hidden: Tensor = self._model.get_decoder()(
            input_ids=shifted(labels, self.start_token),
            encoder_hidden_states=encoded,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state
        return hidden * self.output_scale

    def hidden_states(self, prompt: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            raise ValueError("an encoder-decoder writes after its prompt: labels are needed")
        return self.decode(self.encode(prompt, attention_mask), attention_mask, labels)

    @torch.no_grad()
    def prefill(self, prompt: Tensor, attention_mask: Tensor, *, capacity: int, rows_at_once: int = 0) -> BeamCache:
        parts = list[Tensor]()
        for rows, width in in_parts(attention_mask, rows_at_once):
            encoded = self._encode_without_gradient(prompt[rows, :width], attention_mask[rows, :width])
            parts.append(functional.pad(encoded, (0, 0, 0, prompt.shape[1] - width)))
        encoded = torch.cat(parts) if len(parts) > 1 else parts[0]
        return self.prefill_encoded(encoded, attention_mask, capacity=capacity)

    @torch.no_grad()
    def prefill_encoded(self, encoded: Tensor, attention_mask: Tensor, *, capacity: int) -> BeamCache:
        """`prefill` with texts that the encoder has read: its states [n, S, d]."""
        keys, values, text_keys, text_values = [], [], [], []
        for key_layer, value_layer in self._text_projections():
            text_keys.append(self._split(key_layer(encoded)))
            text_values.append(self._split(value_layer(encoded)))
            shape = (len(encoded), capacity, self._heads * text_keys[-1].shape[3])
            # Like the projections, not like `encoded`: under autocast they are bf16.
            keys.append(text_keys[-1].new_empty(shape))
            values.append(text_keys[-1].new_empty(shape))
        bias = torch.zeros(attention_mask.shape, device=encoded.device)
        bias = bias.masked_fill(attention_mask == 0, float("-inf"))[:, None, None, :]
        paths = BeamPaths.none(len(encoded), encoded.device)
        return BeamCache(text_keys, text_values, bias, keys, values, self._distance_bias(capacity, text_keys[0]), paths)

    def select(self, cache: BeamCache, rows: Tensor) -> BeamCache:
        return cache.select(rows)

    def _encode_without_gradient(self, prompt: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encode(prompt, attention_mask)

    @abstractmethod
    def _text_projections(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Per layer the key and value projections of the cross-attention."""

    def _distance_bias(self, capacity: int, like: Tensor) -> Tensor:
        """`BeamCache.distance_bias`."""
        return like.new_zeros(self._heads, capacity)

    def _split(self, flat: Tensor) -> Tensor:
        """[n, rows, heads * d_head] -> [n, heads, rows, d_head]."""
        return flat.unflatten(2, (self._heads, -1)).transpose(1, 2)


def shifted(labels: Tensor, start: int) -> Tensor:
    """Decoder inputs for `labels` [rows, T]: the start token first, each label one step later.

    Padding, which is negative, becomes some token: what is written after it is not looked at.
    """
    return torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1].clamp(min=0)], 1)
