"""What gives candidates their final score: a small network or, without hidden layers, a sum that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.ranking.inference import Layers

_ROWS = 1 << 12
"""Candidates at a time: what the layers make of them stays in the processor's cache."""


class ListNetwork(nn.Module):
    """Features [candidates, features] to scores [candidates]; each feature is standardised first."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        layers: list[nn.Module] = []
        widths = [features, *hidden]
        for width, wider in pairwise(widths):
            layers += [nn.Linear(width, wider), nn.GELU(), nn.Dropout(dropout)]
        # Without a bias: it would be the same for all candidates.
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1, bias=False))

    def standardise(self, columns: NDArray[np.float16]) -> None:
        """Take mean and deviation of features from the lists that are learned from."""
        mean, square = columns.mean(axis=0, dtype=np.float64), np.zeros(columns.shape[1])
        for start in range(0, len(columns), _ROWS):
            part = columns[start : start + _ROWS].astype(np.float64) - mean
            square += (part**2).sum(axis=0)
        deviation = np.sqrt(square / max(len(columns), 1))
        self.mean.copy_(torch.from_numpy(mean))
        self.deviation.copy_(torch.from_numpy(np.where(deviation > 1e-6, deviation, 1.0)))

    def forward(self, columns: Tensor) -> Tensor:
        scores: Tensor = self.layers((columns - self.mean) / self.deviation)
        return scores[:, 0]

    def scores(self, columns: NDArray[np.float16]) -> NDArray[np.float32]:
        """[candidates], some at a time; without dropout."""
        network = deepcopy(self).eval()
        found = np.empty(len(columns), np.float32)
        with torch.inference_mode():
            for start in range(0, len(columns), _ROWS):
                found[start : start + _ROWS] = network(torch.from_numpy(columns[start : start + _ROWS]).float()).numpy()
        return found

    def taught(self) -> Layers:
        """What it has learned, for those who ask."""
        return Layers.of({name: tensor.numpy() for name, tensor in self.state_dict().items()})
