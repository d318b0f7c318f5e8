"""What a taught network answers, without torch: its import takes longer than the answer.

layers = Layers.of({name: tensor.numpy() for name, tensor in network.state_dict().items()})
layers.scores(columns)                                     # [candidates]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

_ROWS = 1 << 12
"""Candidates at a time: what the layers make of them stays in the processor's cache."""
_ROOT_TWO = math.sqrt(2.0)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layers:
    """The weights of a `ListNetwork` (network.py) in float64."""

    state: Mapping[str, NDArray[Any]]
    """As the network's `state_dict`, in float32."""
    mean: Array
    deviation: Array
    hidden: tuple[tuple[Array, Array], ...]
    """Weight [in, out] and bias [out] of each layer with a GELU behind it."""
    last: Array
    """[in]"""

    @classmethod
    def of(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Raises `KeyError` for a state that is of another network."""
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("layers.")})
        weights = [np.asarray(state[f"layers.{number}.weight"], np.float64).T for number in numbers]
        biases = [np.asarray(state[f"layers.{number}.bias"], np.float64) for number in numbers[:-1]]
        mean, deviation = (np.asarray(state[name], np.float64) for name in ("mean", "deviation"))
        kept = {name: np.array(array) for name, array in state.items()}
        return cls(kept, mean, deviation, tuple(zip(weights[:-1], biases, strict=True)), weights[-1][:, 0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Features, and the widths of the hidden layers."""
        return len(self.mean), *(len(bias) for _, bias in self.hidden)

    def scores(self, columns: NDArray[np.float16]) -> NDArray[np.float32]:
        """[candidates]: computed in float64, so that the last bits, which depend on how many candidates are computed
        at a time, are rounded away: a user's list is the same in any company."""
        found = np.empty(len(columns), np.float32)
        for start in range(0, len(columns), _ROWS):
            states = (columns[start : start + _ROWS].astype(np.float64) - self.mean) / self.deviation
            for weight, bias in self.hidden:
                states = states @ weight + bias
                states *= 0.5 * (1.0 + erf(states / _ROOT_TWO))
            found[start : start + _ROWS] = states @ self.last
        return found
