"""Raw vectors of the items that have some to vectors of length 1 in few numbers; block by block, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from components.errors import BadInput

_ROWS = 8192
_OUTLIER = 5.0
"""Deviations from the mean from which a number counts no more."""
_NO_VARIANCE = 1e-6
"""Share of the largest variance under which there is none but rounding."""
Raw = NDArray[np.float32]
"""[items, numbers], in memory or a mapped file."""


@dataclass(frozen=True)
class Basis:
    """What turns raw vectors into those of a view: learned of the items that were there, and read for new ones."""

    mean: NDArray[np.float64]
    """[numbers]"""
    scale: NDArray[np.float64]
    """[numbers] what each is divided by."""
    axes: NDArray[np.float64] | None
    """[numbers, dims] the axes that are kept; None where all numbers are."""
    standardised: bool

    @classmethod
    def of(
        cls, raw: Raw, present: NDArray[np.bool_], dims: int, *, standardised: bool, whitened: bool = False
    ) -> Basis:
        """Of the rows that are `present`. `standardised`: every number is divided by its deviation first, for numbers
        of different units. `whitened`: every principal component is divided by its own."""
        mean, spread = _moments(raw, present)
        scale = np.where(spread > 0, spread, 1) if standardised else np.ones_like(spread)
        axes = _axes(raw, present, mean, scale, dims, whitened) if raw.shape[1] > dims or whitened else None
        return cls(mean, scale, axes, standardised)

    def read(self, raw: Raw, present: NDArray[np.bool_]) -> Raw:
        """[items, dims] of length 1; 0 where an item is not `present`."""
        found = np.zeros((len(raw), len(self.mean) if self.axes is None else self.axes.shape[1]), np.float32)
        for rows, block in _blocks(raw, present):
            centred = _centred(block, self.mean, self.scale, self.standardised)
            projected = centred if self.axes is None else centred @ self.axes
            lengths = np.linalg.norm(projected, axis=1, keepdims=True)
            found[rows] = projected / np.where(lengths > 0, lengths, 1)
        return found

    def save(self, file: Path) -> None:
        """Write all of it."""
        arrays = {"mean": self.mean, "scale": self.scale, "standardised": np.array([self.standardised])}
        save_file(arrays | ({} if self.axes is None else {"axes": np.ascontiguousarray(self.axes)}), file)

    @classmethod
    def load(cls, file: Path) -> Basis:
        """Raises `BadInput` for a file that is missing or damaged."""
        try:
            arrays = load_file(file)
            return cls(arrays["mean"], arrays["scale"], arrays.get("axes"), bool(arrays["standardised"][0]))
        except (OSError, SafetensorError, KeyError, IndexError) as error:
            mend = "run the stage that writes it: dvc repro views"
            raise BadInput(f"not readable as the basis of a view: {error}", where=str(file), mend=mend) from error


def reduced(raw: Raw, present: NDArray[np.bool_], dims: int, *, standardised: bool, whitened: bool = False) -> Raw:
    """[items, at most dims]: centred, projected on the principal components where there are more numbers than `dims`
    (Pearson, 1901), of length 1; 0 where an item is not `present`. The rest: `Basis.of`."""
    return Basis.of(raw, present, dims, standardised=standardised, whitened=whitened).read(raw, present)


def _moments(raw: Raw, present: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[numbers] mean and deviation over the items that are present."""
    count = max(int(present.sum()), 1)
    mean = (
        sum((block.sum(axis=0, dtype=np.float64) for _, block in _blocks(raw, present)), np.zeros(raw.shape[1])) / count
    )
    squares = sum((((block - mean) ** 2).sum(axis=0) for _, block in _blocks(raw, present)), np.zeros(raw.shape[1]))
    return mean, np.sqrt(squares / count)


def _axes(
    raw: Raw,
    present: NDArray[np.bool_],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    dims: int,
    whitened: bool,
) -> NDArray[np.float64]:
    """[numbers, at most dims] the principal axes; the largest number of each is positive. `whitened`: each divided by
    the deviation along it, an axis without any being left out."""
    covariance = np.zeros((raw.shape[1], raw.shape[1]))
    for _, block in _blocks(raw, present):
        centred = (block - mean) / scale
        covariance += centred.T @ centred
    variances, vectors = np.linalg.eigh(covariance)
    axes, along = vectors[:, ::-1][:, :dims], variances[::-1][:dims]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    axes = axes * np.where(signs == 0, 1, signs)
    if not whitened:
        return np.asarray(axes)
    some = along > _NO_VARIANCE * max(float(along[0]), 0.0)
    return np.asarray(np.where(some, axes / np.sqrt(np.where(some, along, 1.0)), 0.0))


def _centred(
    block: Raw, mean: NDArray[np.float64], scale: NDArray[np.float64], standardised: bool
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (block - mean) / scale
    return np.clip(found, -_OUTLIER, _OUTLIER) if standardised else found


def _blocks(raw: Raw, present: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Raw]]:
    """Row numbers and rows of the items that are present, some at a time."""
    for start in range(0, len(raw), _ROWS):
        rows = start + np.flatnonzero(present[start : start + _ROWS])
        if len(rows):
            yield rows, np.asarray(raw[rows])
