"""The taught ranker: networks whose scores are averaged and a sum that a person can read, one of which is used.

ranker.scores(block.columns)                               # [candidates]
ranker.weights()                                           # feature -> weight of the sum, the largest first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from components.ranking.inference import Layers

Kind = Literal["network", "sum"]


@dataclass(frozen=True)
class Ranker:
    """Scores candidates by their features."""

    features: tuple[str, ...]
    networks: tuple[Layers, ...]
    linear: Layers
    used: Kind
    """Which of the two ranks: the one that was better on validation, the sum where no difference could be told."""

    def scores(self, columns: NDArray[np.float16], kind: Kind | None = None) -> NDArray[np.float32]:
        """[candidates] higher is better."""
        if (kind or self.used) == "sum":
            return self.linear.scores(columns)
        return np.mean([network.scores(columns) for network in self.networks], axis=0, dtype=np.float32)

    def weights(self) -> dict[str, float]:
        """Feature -> its weight in the sum per standard deviation over the candidates, the largest first."""
        pairs = sorted(
            zip(self.features, self.linear.last.tolist(), strict=True), key=lambda pair: (-abs(pair[1]), pair[0])
        )
        return dict(pairs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `of` reads."""
        found: dict[str, NDArray[Any]] = {"used": np.array([self.used == "network"], np.uint8)}
        for name, network in (("sum", self.linear), *((str(at), each) for at, each in enumerate(self.networks))):
            found |= {f"{name}.{part}": array for part, array in network.state.items()}
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], features: Sequence[str], hidden: Sequence[int]) -> Self:
        """Raises `ValueError` where the arrays are of other features or another network."""
        found: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            if rest:
                found.setdefault(part, {})[rest] = array
        linear = _layers(found.pop("sum"), (len(features),))
        networks = tuple(_layers(found[part], (len(features), *hidden)) for part in sorted(found, key=int))
        return cls(tuple(features), networks, linear, "network" if arrays["used"][0] else "sum")


def _layers(state: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> Layers:
    try:
        found = Layers.of(state)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"no ranker of {shape[0]} features: {error!r}") from error
    if found.shape != shape:
        raise ValueError(f"no ranker of {shape[0]} features: its layers are {found.shape}, not {shape}")
    return found
