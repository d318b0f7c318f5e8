"""The training set of an encoder-decoder: one sample for each prefix of a history, gathered from packed arrays.

    samples = Samples(histories, token_ids, pieces, end_token=1, max_history=20)
    for rows in samples.epoch(seed=17, number=0, batch_size=64):
        batch = samples.collate(rows)

Histories lie end to end in one array, which may be mapped from a file, and a sample is the place of its target in it;
everything before it in the same history is the prompt. Tokens are kept per item of the catalogue, never per
interaction, and gathered batch by batch. `phrasings.Pieces.build` is the slow, obvious way to the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from components.recommender.batches.batch import IGNORED, MAX_TOKENS, PAD, Batch, Ends
from components.recommender.batches.epochs import Drawn, padded_lengths
from components.recommender.batches.mixture import Mixture
from components.recommender.batches.pools import Places, Pools, Runs
from components.recommender.batches.prefixes import Prefixes, evenly, prefixes_before
from components.recommender.batches.soft_targets import Teacher
from components.recommender.batches.training_set import TrainingSet
from components.recommender.batches.wordings import Wordings
from components.recommender.prompts.neighbours import NeighbourWords
from components.recommender.prompts.phrasings import Pieces
from components.recommender.trie.choices import Paths
from components.storage.ragged import Ints, Ragged

_LABEL_SHAPES = 4
"""Most padded lengths of labels: on Amazon Beauty 7 % of their tokens are padding with 4, 11 % with 3, 46 % with 1."""


@dataclass(frozen=True)
class Rows(Drawn):
    """The samples of one batch: which they are, and the shape they are padded to."""

    targets: Ints
    """[rows]: place of each sample's target in the histories."""
    first: Ints
    """[rows]: place of the oldest item that is read before it; the target's own place if there is none."""
    wordings: Ints
    """[rows]: seeds of the wordings of each prompt's items."""
    labels: Ints
    """[rows]: tokens that the label of each is padded to; in a batch that of the longest counts for all."""

    @property
    def label_tokens(self) -> Ints:
        return self.labels


class Samples(TrainingSet[Rows]):
    """All samples of a set of histories under one ID table; made anew in every round, as the table changes.

    8 bytes a user are kept beside the arguments of `TrainingSet`. `users`: token ids of the user ID in the prompt of
    each target, by the target's place in `histories.values` (`UserIds.before`), if user IDs are wanted; held in memory.
    """

    def __init__(
        self,
        histories: Ragged,
        token_ids: Sequence[Sequence[int]],
        pieces: Pieces,
        *,
        end_token: int,
        max_history: int,
        max_tokens: int = MAX_TOKENS,
        users: Sequence[Sequence[int]] | None = None,
        paths: Paths | None = None,
        known: Ints | None = None,
        mixture: Mixture | None = None,
        teacher: Teacher | None = None,
        weight: float = 0.0,
        wordings: Wordings | None = None,
        neighbours: NeighbourWords | None = None,
    ) -> None:
        super().__init__(
            histories,
            token_ids,
            pieces,
            max_history=max_history,
            max_tokens=max_tokens,
            paths=paths,
            known=known,
            mixture=mixture,
            teacher=teacher,
            weight=weight,
            wordings=wordings,
            neighbours=neighbours,
        )
        self._end = end_token
        self._ids = Ragged.of(token_ids)
        # The last separator of a prompt is left out, unless it is closed.
        self._open = 0 if pieces.closed else len(pieces.separator)
        self._users = Ragged.of([(*user, *pieces.separator) if len(user) else () for user in users]) if users else None
        self._tails = Ragged.of(pieces.tails)
        self._frames = self._heads.lengths + self._tails.lengths

    @property
    def _written(self) -> Ragged:
        return Ragged.of([(*self._ids.row(item).tolist(), self._end) for item in range(len(self._ids))])

    @cached_property
    def label_lengths(self) -> Ints:
        """The padded lengths of labels, which are an ID and the end token, rising."""
        taught = self._label_tokens(self._items[evenly(len(self._items))])
        longest = int(self._ids.lengths.max(initial=0)) + 1
        return padded_lengths(taught, longest, shapes=_LABEL_SHAPES, multiple=1)

    def _label_tokens(self, items: NDArray[np.integer]) -> Ints:
        """[n]: tokens of the labels of some items."""
        return self._ids.lengths_of(items) + 1

    def collate(self, rows: Rows) -> Batch:
        """The tensors of one batch."""
        input_ids = np.full((len(rows), rows.length), PAD, dtype=np.int64)
        at = np.zeros(len(rows), dtype=np.int64)
        if self._users is not None:
            at = self._put(input_ids, at, self._users, rows.targets)
        at = self._put(input_ids, at, self._heads, rows.templates)
        written = self._between(rows.first, rows.targets, rows.wordings, last=False)
        row, column, token, place = written.row, written.column, written.token, written.place
        held = np.bincount(row, minlength=len(rows))
        held -= np.minimum(held, self._open)
        kept = column < held[row]
        input_ids[row[kept], (at[row] + column)[kept]] = token[kept]
        last = written.last_tokens()
        ends = Ends.of(row[last], (at[row] + column)[last] - self._open, self._items[place[last]])
        at = self._put(input_ids, at + held, self._tails, rows.templates)
        mask = np.arange(rows.length) < at[:, None]
        targets = self._items[rows.targets]
        labels = self._labels(targets, int(rows.labels.max(initial=1)))
        batch = Batch(
            torch.from_numpy(input_ids),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(labels),
            int((labels != IGNORED).sum()),
            ends=ends,
        )
        if self._soft:
            places = np.arange(len(rows)) * labels.shape[1]
            batch = replace(batch, soft=self._soft.of(rows.targets, targets, places))
        return batch.over(self.paths.of_labels(targets, labels.shape[1]) if self.paths else None)

    @cached_property
    def _prefixes(self) -> Ints:
        return prefixes_before(self._offsets)

    def _count(self, prefixes: Prefixes) -> int:
        return int(self._prefixes[-1]) if prefixes == "all" else len(self._learners)

    def _of_users(self, users: NDArray[np.bool_], prefixes: Prefixes) -> Places:
        if prefixes == "one":
            return super()._of_users(users, prefixes)
        return Runs.of(self._prefixes[:-1][users], np.diff(self._prefixes)[users])

    def _draw(self, samples: Ints, random: np.random.Generator, prefixes: Prefixes) -> tuple[Rows, Ints]:
        targets = self._targets(samples) if prefixes == "all" else self._drawn(samples, random)
        return self._draw_at(targets, random)

    def _draw_at(self, targets: Ints, random: np.random.Generator) -> tuple[Rows, Ints]:
        templates = random.integers(len(self._frames), size=len(targets))
        first, lengths = self._plan(targets, templates)
        own = self._label_tokens(self._items[targets])
        labels = self.label_lengths[np.searchsorted(self.label_lengths, own)]
        return Rows(templates, 0, targets, first, self._draws(random, len(targets)), labels), lengths

    def _new_and_old(self, known: Ints) -> Pools:
        begin, all_of = self._offsets[:-1] + 1, np.diff(self._prefixes)
        old = np.clip(known - 1, 0, all_of)  # the first item is no target
        last = np.flatnonzero(old)
        return Pools(
            new=Runs.of(begin + old, all_of - old),
            old=Runs.of(begin, old),
            newest=(begin + old - 1)[last],
        )

    def _longest(self) -> int:
        count = int(self._prefixes[-1])
        targets = self._targets(evenly(count))
        if len(targets) < count:  # one of those that were not looked at may be longer
            return self._max_tokens
        return int(self._plan(targets, np.full(len(targets), int(self._frames.argmax())))[1].max(initial=0))

    def _targets(self, samples: Ints) -> Ints:
        """Places of the targets of samples, which are numbered user by user."""
        user = np.searchsorted(self._prefixes, samples, side="right") - 1
        return self._offsets[user] + 1 + samples - self._prefixes[user]

    def _plan(self, targets: Ints, templates: Ints) -> tuple[Ints, Ints]:
        """Of each sample: the place of the first item of its prompt, and the tokens of the whole prompt."""
        frame = self._frames[templates]
        if self._users is not None:
            frame = frame + self._users.lengths_of(targets)
        begin = self._offsets[np.searchsorted(self._offsets, targets, side="right") - 1]
        first, total = self._before(begin, targets, self._max_tokens - frame + self._open, self._kinds(targets))
        return first, frame + np.where(first < targets, total - self._open, 0)

    @staticmethod
    def _put(into: Ints, at: Ints, packed: Ragged, numbers: Ints) -> Ints:
        """Write sequence numbers[r] of `packed` into row r from at[r] on; returns where each row goes on."""
        row, column, token = packed.gather(numbers)
        into[row, at[row] + column] = token
        return at + packed.lengths_of(numbers)

    def _labels(self, items: Ints, width: int) -> Ints:
        lengths = self._label_tokens(items) - 1
        labels = np.full((len(items), width), IGNORED, dtype=np.int64)
        row, column, token = self._ids.gather(items)
        labels[row, column] = token
        labels[np.arange(len(items)), lengths] = self._end
        return labels
