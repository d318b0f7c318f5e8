"""Work that several processes share: each does its part, and all know everything afterwards.

share = Share(rank, ranks)
for piece in share.turns(pieces):    # None where this process has no piece left
    ...
done = share.gather(mine)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from torch import distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """This process among `ranks`; the process group (torchrun's) must stand where there are several."""

    rank: int = 0
    ranks: int = 1
    boundary: Callable[[], None] | None = None
    """Called by all processes together before every turn; where one raises, all must."""

    def turns(self, work: Sequence[T]) -> Iterator[T | None]:
        """This process's pieces, one a turn; None where it has none left and others do: all make as many turns."""
        mine = self.of(work)
        for turn in range(self.most(work)):
            if self.boundary is not None:
                self.boundary()
            yield mine[turn] if turn < len(mine) else None

    def most(self, work: Sequence[T]) -> int:
        """The most pieces that any process has."""
        return ceil(len(work) / self.ranks)

    def of(self, work: Sequence[T]) -> Sequence[T]:
        """Every `ranks`-th piece from `rank` on; it may be none."""
        return work[self.rank :: self.ranks]

    def gather(self, done: list[T]) -> list[T]:
        """What all processes have done, rank by rank; all of them must ask."""
        if self.ranks == 1:
            return done
        parts: list[list[T]] = [[] for _ in range(self.ranks)]
        dist.all_gather_object(parts, done)
        return [piece for part in parts for piece in part]


ALONE = Share()
