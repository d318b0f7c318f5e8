"""Rows of different lengths in two files that are mapped into memory: written once in a stream, never read as a whole.

    with RaggedWriter(folder, "histories", np.int32) as writer:
        writer.add(lengths, values)                      # as many times as there are pieces
    histories = Ragged.load(folder, "histories", np.int32)
    histories.row(3)

The files hold nothing but numbers, little-endian: NAME.offsets (int64, one more than rows) and NAME.values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows end to end: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: Ints
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def load(cls, folder: Path, name: str, kind: type[np.generic]) -> Ragged:
        """What a `RaggedWriter` wrote: pages come from the disk when they are touched, and all ranks share them."""
        return cls(mapped(folder / f"{name}.offsets", np.int64), mapped(folder / f"{name}.values", kind))


class RaggedWriter:
    """Appends rows to the two files of a `Ragged`; they are whole when the `with` block ends."""

    def __init__(self, folder: Path, name: str, kind: type[np.generic]) -> None:
        self._kind, self._end = np.dtype(kind).newbyteorder("<"), 0
        self._offsets = (folder / f"{name}.offsets").open("wb")
        self._values = (folder / f"{name}.values").open("wb")
        self._offsets.write(np.zeros(1, "<i8").tobytes())

    def add(self, lengths: NDArray[np.integer], values: NDArray[Any]) -> None:
        """Rows of `lengths`, whose numbers are `values`, end to end."""
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
    """Texts in a mapped file, decoded when they are asked for: a catalogue's texts are no Python objects."""

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
