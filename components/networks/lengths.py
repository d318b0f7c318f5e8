"""Group rows of like length, so that little of what is computed is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from components.networks.rounding import round_up

WIDTH = 8
"""Rows are cut to a multiple of this: oneDNN makes a kernel per shape (`cpu/normaliser.py`)."""


def batches_of_like_length(lengths: Sequence[int], size: int, *, longest_first: bool = False) -> list[list[int]]:
    """Row numbers by length, equal ones in their order, in batches of `size`; the last one may be smaller."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row] if longest_first else lengths[row])
    return [order[start : start + size] for start in range(0, len(order), size)]


def even_groups(attention_mask: Tensor, most: int) -> list[tuple[Tensor, int]]:
    """Rows of a mask [n, S] in groups of like length, longest first: (row numbers, width to which they are cut).

    As few groups of at most `most` as can be, and of even size, so that no thread gets what was left over.
    """
    widest = attention_mask.shape[1]
    lengths = attention_mask.sum(1)
    count = -(-len(lengths) // most)
    groups = lengths.argsort(stable=True).tensor_split(count)[::-1] if count else ()
    longest = [int(lengths[rows].max()) for rows in groups]
    return [(rows, min(widest, round_up(length, WIDTH))) for rows, length in zip(groups, longest, strict=True)]


def in_parts(attention_mask: Tensor, size: int) -> Iterator[tuple[slice, int]]:
    """Rows of a mask [n, S], `size` at a time (0: all of them) in their order, and the width to which they are cut.

    Rows should come in order of their lengths. On a GPU all of them at once: it would have to wait for the lengths.
    """
    rows, widest = attention_mask.shape
    if attention_mask.is_cuda or not rows or not size:
        yield slice(0, rows), widest
        return
    lengths = attention_mask.sum(1).numpy()
    for start in range(0, rows, size):
        part = slice(start, min(rows, start + size))
        yield part, min(widest, round_up(int(lengths[part].max()), WIDTH))
