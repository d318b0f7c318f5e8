"""Sequence: a causal transformer over items, which reads a history and scores every item as the next (SASRec).

Kang and McAuley, "Self-Attentive Sequential Recommendation" (ICDM 2018), by the recipe that pays: softmax over the
whole catalogue instead of sampled negatives, every prefix a sample, all those of a history in one forward, much
dropout. Its training (sequence_training.py) takes minutes to hours and goes on where it was stopped.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch

from components.settings import voices as settings
from components.storage.ragged import Ragged
from components.voices.fading import Days
from components.voices.learned import Learned
from components.voices.lists import Scores
from components.voices.sequence_network import SequenceNetwork, padded
from components.voices.sequence_training import train
from components.voices.voice import Voice

_USERS = 256
"""Histories read at a time."""


class Sequence(Voice):
    """Every item has a score; an empty history gets what its first item would be."""

    Settings = settings.Sequence
    LEAST: ClassVar[float] = -np.inf

    @classmethod
    def build(cls, learned: Learned, chosen: Any) -> Self:
        network = train(learned, chosen)
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        return cls(learned.catalogue, arrays, chosen)

    def scores(self, histories: Ragged, days: Days) -> Scores:
        found = np.empty((len(histories), len(self.catalogue.table)), np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), _USERS):
                block = histories.between(start, start + _USERS)
                tokens, lengths = padded(block, self.settings.max_length, start_token=found.shape[1])
                hidden = self._network(tokens)[torch.arange(len(tokens)), lengths]
                found[start : start + _USERS] = (hidden @ self._network.items.weight[:-1].T).numpy()
        return found

    @cached_property
    def _network(self) -> SequenceNetwork:
        network = SequenceNetwork(len(self.catalogue.table), self.settings)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in self.arrays.items()})
        return network.eval()
