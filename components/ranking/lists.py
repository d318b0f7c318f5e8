"""Lists of candidates to be ranked, of users whose target is known and among the candidates.

lists = Lists.read(reader, held)                           # the others of `held` count in `lists.asked` alone
ranks = lists.ranks(scores, masked=True)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from components.progress import Progress
from components.ranking.candidates import summary
from components.ranking.features import Feature
from components.ranking.reading import Reader, ranks_of, squashed
from components.sampling import derive
from components.storage.ragged import Ragged
from components.voices.fading import Days


@dataclass(frozen=True)
class Held:
    """Histories that ask, and the item that each took next."""

    histories: Ragged
    days: Days
    """[events] of `histories`."""
    targets: NDArray[np.int64]
    """[histories]"""

    def some(self, most: int, seed: int) -> Held:
        """At most so many of them, drawn by the seed."""
        if len(self.histories) <= most:
            return self
        rows = np.sort(np.random.default_rng(derive(seed, "rank", "users")).permutation(len(self.histories))[:most])
        days = Ragged(self.histories.offsets, self.days).take(rows).values
        return Held(self.histories.take(rows), days, self.targets[rows])


@dataclass(frozen=True)
class Lists:
    """Candidates of each user end to end."""

    features: list[Feature]
    columns: NDArray[np.float16]
    """[candidates, features]"""
    offsets: NDArray[np.int64]
    """[users + 1]"""
    right: NDArray[np.int64]
    """[users] place of the target in the user's list."""
    own: NDArray[np.bool_]
    """[candidates] whether the user has it."""
    proposed: NDArray[np.bool_]
    """[candidates, voices]"""
    users: NDArray[np.int64]
    """[users] which of the histories that asked."""
    asked: int
    """How many asked, those included whose target is no candidate."""

    @classmethod
    def read(cls, reader: Reader, held: Held, progress: Progress | None = None) -> Self:
        columns, lengths, right, own, proposed, users = [], [], [], [], [], []
        for block in reader.blocks(held.histories, held.days, progress):
            found = block.candidates
            hits = np.flatnonzero(found.items == held.targets[block.first + found.owners])
            having = found.owners[hits]
            kept = np.zeros(len(block.histories), bool)
            kept[having] = True
            rows = kept[found.owners]
            starts = np.searchsorted(found.owners, having)
            columns.append(block.columns[rows])
            own.append(found.own[rows])
            proposed.append(found.proposed[rows])
            lengths.append(np.searchsorted(found.owners, having, side="right") - starts)
            right.append(hits - starts)
            users.append(block.first + having)
        nothing = np.zeros(0, np.int64)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([nothing, *lengths]))]).astype(np.int64)
        return cls(
            features=reader.features,
            columns=np.concatenate([np.zeros((0, len(reader.features)), np.float16), *columns]),
            offsets=offsets,
            right=np.concatenate([nothing, *right]),
            own=np.concatenate([nothing.astype(bool), *own]),
            proposed=np.concatenate([np.zeros((0, len(reader.voices)), bool), *proposed]),
            users=np.concatenate([nothing, *users]),
            asked=len(held.histories),
        )

    def __len__(self) -> int:
        return len(self.right)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def ranks(self, scores: NDArray[np.float32], *, masked: bool) -> NDArray[np.int64]:
        """[asked] the target's rank by scores [candidates], ties by item number; 0 where it is no candidate, or the
        user has it and `masked`."""
        owners = np.repeat(np.arange(len(self)), self.lengths)
        at = self.offsets[:-1] + self.right
        theirs = scores[at][owners]
        ahead = (scores > theirs) | ((scores == theirs) & (np.arange(len(scores)) < at[owners]))
        if masked:
            ahead &= ~self.own
        found = 1 + np.bincount(owners[ahead], minlength=len(self))
        ranks = np.zeros(self.asked, np.int64)
        ranks[self.users] = np.where(self.own[at] & masked, 0, found)
        return ranks

    def unowned(self) -> Self:
        """The lists without what their users have; whose target is such an item has none."""
        at = self.offsets[:-1] + self.right
        having = ~self.own[at]
        rows = ~self.own & np.repeat(having, self.lengths)
        before = np.append(0, np.cumsum(rows))
        lengths = (before[self.offsets[1:]] - before[self.offsets[:-1]])[having]
        return replace(
            self,
            columns=self.columns[rows],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            right=(before[at] - before[self.offsets[:-1]])[having],
            own=self.own[rows],
            proposed=self.proposed[rows],
            users=self.users[having],
        )

    def without(self, *, voices: Collection[str] = (), groups: Collection[str] = ()) -> Self:
        """The lists as if some voices proposed and said nothing, and some groups of features were not computed."""
        kept = [at for at, each in enumerate(self.features) if each.voice not in voices and each.group not in groups]
        names = list(dict.fromkeys(each.voice for each in self.features if each.name.endswith(".rank") and each.voice))
        others = [at for at, name in enumerate(names) if name not in voices]
        rows = self.own | self.proposed[:, others].any(axis=1)
        at = self.offsets[:-1] + self.right
        owners = np.repeat(np.arange(len(self)), self.lengths)
        having = rows[at]
        rows &= having[owners]
        features = [self.features[each] for each in kept]
        columns = self.columns[rows][:, kept]
        if voices:
            ranks = np.expm1(columns[:, ranks_of(features)].astype(np.float32))
            names_kept = [each.name for each in features]
            best = names_kept.index("best_rank")
            columns[:, best : best + 2] = squashed(summary(np.round(ranks).astype(np.float32)))
        before = np.append(0, np.cumsum(rows))
        lengths = (before[self.offsets[1:]] - before[self.offsets[:-1]])[having]
        right = (before[at] - before[self.offsets[:-1]])[having]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return replace(
            self,
            features=features,
            columns=columns,
            offsets=offsets,
            right=right,
            own=self.own[rows],
            proposed=self.proposed[rows][:, others],
            users=self.users[having],
        )
