"""The training set of the recommender phase: its batches in each epoch, padded to few shapes.

    for rows in training_set.epoch(seed=17, number=0, batch_size=64):
        batch = training_set.collate(rows)

Two ways: one row a prefix of a history (`samples.Samples`), or one row a history (`windows.Windows`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from components.recommender.batches.batch import MAX_TOKENS, Batch
from components.recommender.batches.epochs import Epoch, R, padded_lengths
from components.recommender.batches.mixture import Mixed, Mixture
from components.recommender.batches.pools import Places, Pools
from components.recommender.batches.prefixes import Prefixes, evenly
from components.recommender.batches.soft_targets import SoftTargets, Teacher
from components.recommender.batches.tasks import Blocks
from components.recommender.batches.wordings import Wordings, chances
from components.recommender.prompts.lookback import Lookback
from components.recommender.prompts.neighbours import NeighbourWords
from components.recommender.prompts.phrasings import Pieces
from components.recommender.trie.choices import Paths
from components.storage.ragged import Ints, Ragged, slices

_NEIGHBOURS = 1 << 40
"""Added to the place of an item in a row whose seed says what becomes of it: another chance than its wording has."""


class TrainingSet(ABC, Generic[R]):
    """`histories`: item numbers of each user, oldest first; may be mapped from files. `token_ids`: the ID of each item
    number, without the end token. `max_history`, `max_tokens`: most items and tokens of a prompt. `paths`: of the same
    IDs, for a loss over the trie. `known` [users]: how many items of each history, from the oldest on, a model has
    learned that is trained further (`update`). `mixture`: whose the histories are, where there are several
    catalogues. `teacher`: has a part of `weight` in the labels, if there is one. `wordings`: other wordings of the
    IDs, which stand in some of the prompts' places. `neighbours`: what is read behind an item and never taught."""

    def __init__(
        self,
        histories: Ragged,
        token_ids: Sequence[Sequence[int]],
        pieces: Pieces,
        *,
        max_history: int,
        max_tokens: int = MAX_TOKENS,
        paths: Paths | None = None,
        known: Ints | None = None,
        mixture: Mixture | None = None,
        teacher: Teacher | None = None,
        weight: float = 0.0,
        wordings: Wordings | None = None,
        neighbours: NeighbourWords | None = None,
    ) -> None:
        self._known, self._mixture, self._wordings, self._neighbours = known, mixture, wordings, neighbours
        self._taught_by = None if teacher is None else (teacher.over(histories), weight)
        self._offsets, self._items, self._max_tokens = histories.offsets, histories.values, max_tokens
        self._pieces, self._heads, self.paths = pieces, Ragged.of(pieces.heads), paths
        self._separated = Ragged.of([(*item, *pieces.separator) for item in token_ids])
        self._forms = self._separated
        """What `_between` writes: the IDs and behind them their other wordings, each with a separator."""
        if wordings is not None:
            others = ((*row.tolist(), *pieces.separator) for row in wordings.tokens)
            self._forms = Ragged.of([*map(tuple, (row.tolist() for row in self._separated)), *others])
        tokens = self._separated.lengths
        if neighbours is not None:
            tokens = np.tile(tokens, len(neighbours.tokens) // max(1, len(tokens))) + neighbours.tokens.lengths
        self._before = Lookback(self._items, tokens, max_history)
        self._lengths: dict[Prefixes, Ints] = {}
        self._of_catalogues: dict[Prefixes, list[Places]] = {}

    def epoch(
        self, *, seed: int, number: int, batch_size: int, prefixes: Prefixes = "all", batch_tokens: int = 0
    ) -> Epoch[R]:
        """The batches of epoch `number`, in order: a function of `seed` and `number` alone. Every sample is taken once
        or, of several catalogues, as their mixture says.

        `prefixes`: "all" teaches every target once, "one" draws one per user, another in every epoch. Phrasings are
        drawn anew. `batch_tokens`: padded tokens of a batch, instead of `batch_size` rows.
        """
        sizes = {"batch_size": batch_size, "batch_tokens": batch_tokens}
        if self._mixture is None:
            draw = partial(self._draw, prefixes=prefixes)
            return Epoch(self._count(prefixes), draw, self.lengths(prefixes), seed=seed, number=number, **sizes)
        drawn = self._mixture.drawn(self._members(prefixes), seed=seed, number=number)

        def draw_mixed(samples: Ints, random: np.random.Generator) -> tuple[R, Ints]:
            return self._draw(drawn[samples], random, prefixes)

        return Epoch(len(drawn), draw_mixed, self.lengths(prefixes), seed=seed, number=number, **sizes)

    def in_tasks(
        self, tasks: Mixture, *, inner: int, seed: int, number: int, batch_size: int, batch_tokens: int = 0
    ) -> Blocks[R]:
        """The batches of epoch `number` in blocks of `inner` of one task each: about as many as `epoch` has, shared out
        among the tasks as a mixture shares out catalogues. `tasks`: whose the histories are."""
        drawn = tasks.drawn([self._of_users(tasks.numbers == task, "all") for task in range(len(tasks.weights))],
                            seed=seed, number=number)  # fmt: skip
        sizes = {"batch_size": batch_size, "batch_tokens": batch_tokens}
        epochs = []
        for task, quota in enumerate(drawn.quotas):
            own = replace(drawn, quotas=[quota if each == task else 0 for each in range(len(drawn.quotas))])

            def draw(samples: Ints, random: np.random.Generator, own: Mixed = own) -> tuple[R, Ints]:
                return self._draw(own[samples], random, "all")

            epochs.append(Epoch(quota, draw, self.lengths(), seed=seed + task, number=number, **sizes))
        return Blocks(epochs, inner=inner, seed=seed, number=number)

    def update(self, *, seed: int, number: int, replay: float, batch_size: int, batch_tokens: int = 0) -> Epoch[R]:
        """The batches of epoch `number` for a model that has learned the `known` items: all samples with others once,
        and `replay` times the old samples, half of them the newest of drawn users, half drawn from all.

        A function of `seed` and `number`, as `epoch`; another draw in each. Nothing is replayed where nothing is new.
        """
        drawn = self._pools.drawn(replay, seed=seed, number=number)

        def draw(samples: Ints, random: np.random.Generator) -> tuple[R, Ints]:
            return self._draw_at(drawn[samples], random)

        sizes = {"batch_size": batch_size, "batch_tokens": batch_tokens}
        return Epoch(len(drawn), draw, self.lengths(), seed=seed, number=number, **sizes)

    def lengths(self, prefixes: Prefixes = "all") -> Ints:
        """The padded row lengths, rising; fixed by the data alone, so that they do not change between epochs."""
        if prefixes not in self._lengths:
            found = self._draw(evenly(self._count(prefixes)), np.random.default_rng(0), prefixes)[1]
            self._lengths[prefixes] = padded_lengths(found, self._longest())
        return self._lengths[prefixes]

    @abstractmethod
    def collate(self, rows: R) -> Batch:
        """The tensors of one batch."""

    @abstractmethod
    def _count(self, prefixes: Prefixes) -> int:
        """Samples of an epoch."""

    @abstractmethod
    def _draw(self, samples: Ints, random: np.random.Generator, prefixes: Prefixes) -> tuple[R, Ints]:
        """`epochs.Draw`."""

    @abstractmethod
    def _draw_at(self, places: Ints, random: np.random.Generator) -> tuple[R, Ints]:
        """The same for samples that are named by their place in the histories, as in `_new_and_old`."""

    def _members(self, prefixes: Prefixes) -> list[Places]:
        """The samples of each catalogue of the mixture."""
        assert self._mixture is not None, "asked of several catalogues"
        if prefixes not in self._of_catalogues:
            numbers, weights = self._mixture.numbers, self._mixture.weights
            self._of_catalogues[prefixes] = [
                self._of_users(numbers == catalogue, prefixes) for catalogue in range(len(weights))
            ]
        return self._of_catalogues[prefixes]

    def _of_users(self, users: NDArray[np.bool_], prefixes: Prefixes) -> Places:
        """The samples of some users."""
        assert prefixes == "one", "a kind of sample says which are whose"
        return np.flatnonzero(users[self._learners])

    def _draws(self, random: np.random.Generator, count: int) -> Ints:
        """[count] seeds of rows, for `_between`; nothing is drawn where there is one way to write a row."""
        drops = self._neighbours is not None and self._neighbours.dropout > 0
        several = self._wordings is not None or drops
        return random.integers(2**62, size=count) if several else np.zeros(count, np.int64)

    def _kinds(self, ends: NDArray[np.integer]) -> Ints | None:
        """[n] where in the tokens of a `Lookback` the items begin as users read them of whose histories these slices
        are; None where all read the same."""
        if self._neighbours is None:
            return None
        return self._neighbours.kinds(np.searchsorted(self._offsets, ends, side="left") - 1)

    def _between(self, first: Ints, end: Ints, seeds: Ints, *, last: bool) -> Written:
        """The tokens of the items items[first[i]:end[i]] and their separators, and of their neighbours; with `seeds`
        [slices] some by another wording and some without neighbours. Where the last item of a slice is one that is
        taught (`last`), it is written by its ID, and nothing behind it."""
        row, column, item = slices(self._items, first, end - first)
        form = item
        if self._wordings is not None:
            form = self._wordings.drawn(item, seeds[row], column)
            if last:
                form = np.where(first[row] + column == end[row] - 1, item, form)
        own = np.asarray(form == item)
        number, _, token = self._forms.gather(form)
        of_item = np.ones(len(number), bool)
        if self._neighbours is not None:
            behind = self._behind(row, column, item, first, end, seeds, last=last)
            others, _, words = self._neighbours.tokens.gather(behind[behind >= 0])
            others = np.flatnonzero(behind >= 0)[others]
            # Those of an item stand behind its own, as a stable order by item has them.
            number, token = np.concatenate([number, others]), np.concatenate([token, words])
            order = np.argsort(number, kind="stable")
            number, token, of_item = number[order], token[order], order < len(of_item)
        place, row = (first[row] + column)[number], row[number]
        column = np.arange(len(row)) - np.searchsorted(row, np.arange(len(first)))[row]
        return Written(row, column, token, place, own[number] & of_item, own, of_item)

    def _behind(
        self, row: Ints, column: Ints, item: NDArray[np.integer], first: Ints, end: Ints, seeds: Ints, *, last: bool
    ) -> Ints:
        """[items of slices] the row of the neighbours' tokens that stands behind each; -1: none."""
        kinds = self._kinds(end)
        assert self._neighbours is not None and kinds is not None
        without = chances(seeds[row], _NEIGHBOURS + column) < self._neighbours.dropout
        if last:
            without |= first[row] + column == end[row] - 1
        return np.where(without, -1, kinds[row] + item)

    @cached_property
    def _soft(self) -> SoftTargets | None:
        """What the teacher makes of the labels."""
        return self._taught_by and SoftTargets(self._taught_by[0], self._written, weight=self._taught_by[1])

    @property
    @abstractmethod
    def _written(self) -> Ragged:
        """The tokens of each item's label, end included."""

    @cached_property
    def _pools(self) -> Pools:
        assert self._known is not None, "asked for a model that has learned something"
        return self._new_and_old(self._known)

    @abstractmethod
    def _new_and_old(self, known: Ints) -> Pools:
        """Places of the samples that teach items beyond the first `known` of their history, and of the others."""

    @abstractmethod
    def _longest(self) -> int:
        """Tokens that no row exceeds."""

    @cached_property
    def _learners(self) -> Ints:
        """Users with at least one item before another."""
        return np.flatnonzero(np.diff(self._offsets) > 1)

    def _drawn(self, samples: Ints, random: np.random.Generator) -> Ints:
        """Place of a random target, which is not the first item, of each of some learners."""
        users = self._learners[samples]
        return self._offsets[users] + random.integers(1, self._offsets[users + 1] - self._offsets[users])


@dataclass(frozen=True)
class Written:
    """The tokens of some slices of the histories, end to end."""

    row: Ints
    """[tokens] the slice."""
    column: Ints
    """[tokens] place in it."""
    token: NDArray[np.int32]
    """[tokens]"""
    place: Ints
    """[tokens] the place in the histories of the item that a token is of."""
    own: NDArray[np.bool_]
    """[tokens] whether it is of the item's ID, and not of another wording."""
    own_items: NDArray[np.bool_]
    """[items] the same of each item of the slices."""
    of_item: NDArray[np.bool_]
    """[tokens] whether it is of the item, by whatever wording, and not of its neighbours."""

    def last_tokens(self) -> Ints:
        """Which of the tokens are the last of their item, neighbours not counted."""
        found = np.flatnonzero(self.of_item)
        row, place = self.row[found], self.place[found]
        return found[np.append((row[1:] != row[:-1]) | (place[1:] != place[:-1]), True)[: len(row)]]
