"""Work that several processes share: each does its part, and all know everything afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """This process among `ranks`; the process group (torchrun's) must stand where there are several."""

    rank: int = 0
    ranks: int = 1

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
