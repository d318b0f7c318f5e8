"""Samples of several catalogues in one epoch, shared out by weight and square root of size.

    mixture = Mixture(numbers, weights=(1.0, 2.0))
    drawn = mixture.drawn(members, seed=17, number=0)       # members: the samples of each catalogue
    drawn[np.arange(len(drawn))]                            # which samples epoch 0 takes, computed when asked for

As many samples as there are, so that an epoch costs what it did; by their sizes alone the largest catalogue would be
all that is heard. A small one is gone through several times, in another order each time; of a large one each epoch
takes another part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.recommender.batches.pools import Places
from components.recommender.batches.shuffle import Shuffle
from components.storage.ragged import Ints


@dataclass(frozen=True)
class Mixture:
    """Whose the histories of a training set are, and how much each catalogue counts."""

    numbers: Ints
    """[users]: the number of each history's catalogue."""
    weights: Sequence[float]

    def drawn(self, members: Sequence[Places], *, seed: int, number: int) -> Mixed:
        """The samples of epoch `number`; `members`: those of each catalogue, by number."""
        return Mixed(members, quotas([len(each) for each in members], self.weights), seed, number)


def quotas(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """How many samples of an epoch are of each catalogue: sizes in all, shared out by weight x sqrt(size)."""
    parts = np.array(weights) * np.sqrt(np.array(sizes, np.float64))
    ends = np.round(np.cumsum(parts) / max(parts.sum(), 1e-30) * sum(sizes)).astype(int)
    return np.diff(ends, prepend=0).tolist()


@dataclass(frozen=True)
class Mixed:
    """The samples of one epoch: those of the first catalogue, then those of the next."""

    members: Sequence[Places]
    quotas: Sequence[int]
    seed: int
    number: int

    def __len__(self) -> int:
        return sum(self.quotas)

    def __getitem__(self, numbers: Ints, /) -> Ints:
        """[n] samples, rising."""
        found, start = [], 0
        for catalogue, (pool, quota) in enumerate(zip(self.members, self.quotas, strict=True)):
            own = numbers[(numbers >= start) & (numbers < start + quota)] - start
            start += quota
            if not len(own):
                continue
            # Counted on from the epochs before: a large catalogue is gone through whole before it comes again.
            passed, place = np.divmod(own + self.number * quota, len(pool))
            for each in np.unique(passed):
                order = Shuffle(len(pool), self.seed, catalogue, int(each))
                found.append(np.asarray(pool[order.at(place[passed == each])], np.int64))
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
