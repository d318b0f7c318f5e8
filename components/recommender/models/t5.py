"""Encoder-decoders of the T5 kind as recommenders: the encoder reads the history, the decoder writes the next ID.

recommender = EncoderDecoder(t5)                       # a T5ForConditionalGeneration or MT5ForConditionalGeneration
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from components.errors import BadInput
from components.networks.normaliser import log_sum_exp
from components.networks.reading import in_parts
from components.networks.t5 import MODEL_TYPES, T5, State
from components.recommender.batches.batch import Batch
from components.recommender.models.interface import Loss, OverLibrary, loss_of


class EncoderDecoder(OverLibrary, T5):
    """`Recommender` over a T5-type encoder-decoder of Hugging Face (T5, mT5), whose weights it reads in place.

    Training calls the library's forward; reading and writing without gradient is `T5`'s.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        if config.model_type not in MODEL_TYPES:
            raise BadInput(
                f"a {config.model_type} cannot be the recommender yet",
                where="train.backbone",
                mend="use a T5, mT5, BART or mBART (google-t5/t5-small), or backbone: scratch",
            )
        super().__init__(model)
        self.end_token = int(config.eos_token_id)
        self.vocabulary_size = int(model.lm_head.weight.shape[0])

    def loss(self, batch: Batch, *, inputs_embeds: Tensor | None = None, label_smoothing: float = 0.0) -> Loss:
        return loss_of(self._model, batch, inputs_embeds, start=self.start_token, label_smoothing=label_smoothing)

    def prefill(self, input_ids: Tensor, attention_mask: Tensor, *, capacity: int) -> State:
        return self.listen(self.encode(input_ids, attention_mask), attention_mask, capacity=capacity)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [users, S, d]; on a CPU of a few users at a time, whose padding is then little."""
        parts = list[Tensor]()
        for users, width in in_parts(attention_mask):
            hidden = super().encode(input_ids[users, :width], attention_mask[users, :width])
            parts.append(functional.pad(hidden, (0, 0, 0, input_ids.shape[1] - width)))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @torch.no_grad()
    def output_rows(self, tokens: Tensor) -> Tensor:
        return self._model.lm_head.weight[tokens].float() * self.scale

    @torch.no_grad()
    def normaliser(self, hidden: Tensor) -> Tensor:
        return log_sum_exp(hidden.float() * self.scale, self._model.lm_head.weight.float())
