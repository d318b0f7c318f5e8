"""Which demands on an ID fit into it, and how many tokens each set of them takes.

meets, costs = affordable(lengths, meets, max_tokens=8)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NEVER = 1 << 20
"""More tokens than any ID has."""

Numbers = NDArray[np.int64]


def affordable(lengths: Numbers, meets: Numbers, max_tokens: int) -> tuple[Numbers, list[int]]:
    """Drop each demand that does not fit beside those before it.

    lengths [W, 2]: tokens of each word as the first of an ID and as a later one. meets [W]: the demands that a word
    meets, as bits; of a demand that is dropped the bit goes, those behind it move up. Returns the new bits, and the
    fewest tokens of later words that meet each set of demands [2^D].
    """
    words = meets.nonzero()[0]
    if not len(words):
        return meets, [0]
    first, later = lengths[words].T.tolist()
    longer = list(map(max, first, later))
    kept: list[int] = []
    for bit in range(int(meets.max()).bit_length()):
        if _costs(longer, _renumbered(meets[words], [*kept, bit]), len(kept) + 1)[-1] <= max_tokens:
            kept.append(bit)
    return _renumbered(meets, kept), _costs(later, _renumbered(meets[words], kept), len(kept))


def _costs(lengths: Sequence[int], meets: Numbers, count: int) -> list[int]:
    """The fewest tokens of words of such `lengths` that meet each set of `count` demands."""
    words, costs = list(zip(lengths, meets.tolist(), strict=True)), [0]
    for wanted in range(1, 1 << count):
        costs.append(min((length + costs[wanted & ~met] for length, met in words if wanted & met), default=NEVER))
    return costs


def _renumbered(meets: Numbers, kept: Sequence[int]) -> Numbers:
    """The bits numbered `kept`, as bits 0, 1, ..."""
    found = np.zeros_like(meets)
    for new, old in enumerate(kept):
        found |= (meets >> old & 1) << new
    return found
