"""A pseudo-random permutation in O(1) memory: place i of the order is computed, never stored.

    order = Shuffle(100_000_000, seed, epoch)
    order.take(0, 65_536)                    # the first samples of the epoch; any part, in any order, at any time

A Feistel network permutes the numbers of 2k bits; what it sends beyond the last sample is sent on until it is one
(cycle walking: Black and Rogaway, 2002). A stored permutation of 10^8 samples would be 800 MB, on every rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_ROUNDS = 6
"""Four rounds are proven to hide the order for large halves (Luby and Rackoff, 1988); small ones get two more."""


class Shuffle:
    """A permutation of 0 .. count - 1, a function of `count` and `seed` alone."""

    def __init__(self, count: int, *seed: int) -> None:
        self._count = count
        self._bits = np.uint64(max(1, -(-(max(count, 1) - 1).bit_length() // 2)))
        self._keys = np.random.default_rng(seed).integers(2**64, size=_ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self._count

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Places `start` to `stop` of the order."""
        return self.at(np.arange(start, min(stop, self._count)))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Any places of the order."""
        found = self._step(places.astype(np.uint64))
        # At most four numbers of the network's range for each sample, so this is a few steps on ever fewer of them.
        beyond = np.flatnonzero(found >= self._count)
        while len(beyond):
            found[beyond] = self._step(found[beyond])
            beyond = beyond[found[beyond] >= self._count]
        return found.astype(np.int64)

    def _step(self, numbers: Words) -> Words:
        """The permutation of all numbers of 2 * bits bits."""
        mask = (np.uint64(1) << self._bits) - np.uint64(1)
        left, right = numbers >> self._bits, numbers & mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) >> (np.uint64(64) - self._bits))
        return (left << self._bits) | right


def _mixed(words: Words) -> Words:
    """Every bit of a word spread over the upper bits of the result (the finaliser of MurmurHash3, public domain)."""
    words = (words ^ (words >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return (words ^ (words >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
