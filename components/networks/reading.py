"""Which users' prompts a CPU reads together: few at a time, so that little of what is read is padding.

for users, width in in_parts(attention_mask):
    hidden = read(input_ids[users, :width])
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from components.networks.rounding import round_up

_USERS = 8
"""Of 64 of Beauty's users, decoded by 32, 13 % of the tokens are then padding and not 36 %."""

WIDTH = 8
"""Prompts are cut to a multiple of this: oneDNN makes a kernel per shape (`normaliser.py`)."""


def in_parts(attention_mask: Tensor) -> Iterator[tuple[slice, int]]:
    """Rows of prompts [users, S] that are read together, in their order, and the width to which they are cut.

    Users should come in order of their lengths. On a GPU all of them at once: it would have to wait for the lengths.
    """
    users, widest = attention_mask.shape
    if attention_mask.is_cuda or not users:
        yield slice(0, users), widest
        return
    lengths = attention_mask.sum(1).numpy()
    for start in range(0, users, _USERS):
        part = slice(start, min(users, start + _USERS))
        yield part, min(widest, round_up(int(lengths[part].max()), WIDTH))
