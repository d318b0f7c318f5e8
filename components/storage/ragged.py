"""Rows of different lengths end to end in one array, in memory or in files that are mapped into memory.

    ids = Ragged.of([[3, 5], [], [7]])                   # ids.row(0), ids.lengths, ids.gather(numbers)
    with RaggedWriter(folder, "histories", np.int32) as writer:
        writer.add(lengths, values)                      # as many times as there are pieces
    histories = Ragged.load(folder, "histories", np.int32)

The files hold nothing but numbers, little-endian: NAME.offsets (int64, one more than rows) and NAME.values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: Ints
    """[rows + 1], from 0 to the number of values."""
    values: NDArray[Any]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Pack lists of numbers; the values are int32."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
        flat = (value for row in rows for value in row)
        return cls(offsets, np.fromiter(flat, np.int32, int(offsets[-1])))

    @classmethod
    def cut(cls, values: NDArray[Any], lengths: NDArray[np.integer]) -> Ragged:
        """Cut `values` into rows of these lengths, which sum up to their number."""
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, values)

    @classmethod
    def load(cls, folder: Path, name: str, kind: type[np.generic]) -> Ragged:
        """Map what a `RaggedWriter` wrote: pages come from the disk when touched, and all processes share them."""
        return cls(mapped(folder / f"{name}.offsets", np.int64), mapped(folder / f"{name}.values", kind))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.row(index) for index in range(len(self)))

    def row(self, index: int) -> NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def between(self, first: int, end: int) -> Ragged:
        """Rows `first` to `end`, not included; the values are a view."""
        offsets = self.offsets[first : end + 1]
        return Ragged(offsets - offsets[0], self.values[offsets[0] : offsets[-1]])

    @cached_property
    def lengths(self) -> Ints:
        """[rows] length of each row; kept once it was asked for."""
        return np.diff(self.offsets)

    @cached_property
    def owners(self) -> Ints:
        """[values] the row that each value stands in; kept once it was asked for."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """Some rows, in that order; the values are a copy."""
        return Ragged.cut(self.gather(rows)[2], self.lengths_of(rows))

    def lengths_of(self, rows: NDArray[np.integer]) -> Ints:
        """[n] length of each of some rows."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def starts_of(self, places: Any) -> Any:
        """For each place in `values` (a number or an array of them), where the row begins that it stands in.

        Looked up by bisection: a stored number for each value would take twice the memory of the values.
        """
        return self.offsets[np.searchsorted(self.offsets, places, side="right") - 1]

    def gather(self, rows: NDArray[np.integer]) -> tuple[Ints, Ints, NDArray[Any]]:
        """Some rows, end to end: (number of its row in `rows`, place in its row, value) of each value."""
        return slices(self.values, self.offsets[rows], self.lengths_of(rows))


def slices(values: NDArray[Any], starts: Ints, lengths: Ints) -> tuple[Ints, Ints, NDArray[Any]]:
    """The slices values[starts[i]:starts[i] + lengths[i]], end to end: (slice i, place in it, value) of each value."""
    rows = np.repeat(np.arange(len(starts)), lengths)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, columns, values[starts[rows] + columns]


class RaggedWriter:
    """Append rows to the two files of a `Ragged`; the files are whole when the `with` block ends."""

    def __init__(self, folder: Path, name: str, kind: type[np.generic]) -> None:
        self._kind, self._end = np.dtype(kind).newbyteorder("<"), 0
        self._offsets = (folder / f"{name}.offsets").open("wb")
        self._values = (folder / f"{name}.values").open("wb")
        self._offsets.write(np.zeros(1, "<i8").tobytes())

    def add(self, lengths: NDArray[np.integer], values: NDArray[Any]) -> None:
        """Append rows of `lengths`, whose values lie end to end in `values`."""
        ends = self._end + np.cumsum(lengths, dtype=np.int64)
        self._end = int(ends[-1]) if len(ends) else self._end
        self._offsets.write(ends.astype("<i8").tobytes())
        self._values.write(values.astype(self._kind, copy=False).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._offsets.close()
        self._values.close()


class Strings(Sequence[str]):
    """Texts as rows of UTF-8 bytes, decoded when asked for: a mapped catalogue holds no Python object per text."""

    def __init__(self, packed: Ragged) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._packed.row(range(len(self))[index]).tobytes().decode()


def mapped(path: Path, kind: type[np.generic]) -> NDArray[Any]:
    """The numbers of a file, read-only. An empty file cannot be mapped, and holds none."""
    if path.stat().st_size == 0:
        return np.zeros(0, kind)
    return np.asarray(np.memmap(path, dtype=np.dtype(kind).newbyteorder("<"), mode="r"))
