"""Samples that are new to a model that has learned some already, those that are old, and what an epoch takes of them.

pools = Pools(new, old, newest)
drawn = pools.drawn(0.2, seed=17, number=0)
drawn[np.arange(len(drawn))]                  # places of all samples of epoch 0, each computed when asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from components.recommender.batches.shuffle import Shuffle
from components.storage.ragged import Ints


class Places(Protocol):
    """Places of samples, such as an array of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: Ints, /) -> Any: ...


@dataclass(frozen=True)
class Runs:
    """Places that follow each other, a run a user: 16 bytes a user, however many there are."""

    starts: Ints
    """[users]: the first of each run."""
    before: Ints
    """[users + 1]: how many lie in the runs before each."""

    @classmethod
    def of(cls, starts: Ints, counts: Ints) -> Runs:
        return cls(starts, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]))

    def __len__(self) -> int:
        return int(self.before[-1])

    def __getitem__(self, numbers: Ints, /) -> Ints:
        run = np.searchsorted(self.before, numbers, side="right") - 1
        return self.starts[run] + numbers - self.before[run]


@dataclass(frozen=True)
class Pools:
    """Places of the samples of a training set."""

    new: Places
    old: Places
    newest: Places
    """The newest old sample of each user that has one."""

    def drawn(self, replay: float, *, seed: int, number: int) -> Update:
        """The samples of epoch `number`: the new ones and `replay` times as many as there are old ones."""
        wanted = round(replay * len(self.old)) if len(self.new) else 0
        newest = min(wanted // 2, len(self.newest))
        orders = (Shuffle(len(pool), seed, number, salt) for salt, pool in enumerate((self.newest, self.old)))
        return Update(self, newest, min(wanted - newest, len(self.old)), *orders)


@dataclass(frozen=True)
class Update:
    """The samples of one epoch: all new ones, then `newest` of the newest old ones, then `old` of all old ones.

    One may be replayed twice, once for each reason."""

    pools: Pools
    newest: int
    old: int
    newest_order: Shuffle
    old_order: Shuffle

    def __len__(self) -> int:
        return len(self.pools.new) + self.newest + self.old

    def __getitem__(self, numbers: Ints, /) -> Ints:
        """Their places, rising within each of the three kinds where `numbers` are: [n]."""
        found, start = [], 0
        for pool, count, order in (
            (self.pools.new, len(self.pools.new), None),
            (self.pools.newest, self.newest, self.newest_order),
            (self.pools.old, self.old, self.old_order),
        ):
            own = numbers[(numbers >= start) & (numbers < start + count)] - start
            found.append(np.asarray(pool[own if order is None else np.sort(order.at(own))], dtype=np.int64))
            start += count
        return np.concatenate(found)
