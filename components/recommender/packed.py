"""Sequences of different lengths end to end in one array: packing them, and cutting slices out of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Packed = tuple[Ints, NDArray[np.int32]]
"""Sequences end to end: sequence i is values[offsets[i]:offsets[i + 1]]."""


def pack(sequences: Sequence[Sequence[int]]) -> Packed:
    """Offsets [n + 1] and values."""
    offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, sequences), np.int64, len(sequences)), out=offsets[1:])
    flat = (token for sequence in sequences for token in sequence)
    return offsets, np.fromiter(flat, np.int32, int(offsets[-1]))


def slices(values: NDArray[Any], starts: Ints, lengths: Ints) -> tuple[Ints, Ints, NDArray[Any]]:
    """The slices values[starts[i]:starts[i] + lengths[i]], end to end: (row of each value, place in its row, value)."""
    rows = np.repeat(np.arange(len(starts)), lengths)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, columns, values[starts[rows] + columns]


def tokens_between(
    packed: Packed, items: NDArray[np.integer], first: Ints, end: Ints
) -> tuple[Ints, Ints, NDArray[np.int32], Ints]:
    """The tokens of the items items[first[i]:end[i]] as `packed` holds them by item number, end to end.

    Returns of each token: its row i, its place in the row, itself, and the place in `items` of the item it is of.
    """
    row, column, item = slices(items, first, end - first)
    number, _, token = slices(packed[1], packed[0][item], packed[0][item + 1] - packed[0][item])
    place, row = (first[row] + column)[number], row[number]
    return row, np.arange(len(row)) - np.searchsorted(row, np.arange(len(first)))[row], token, place
