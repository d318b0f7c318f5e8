"""The training set of a decoder-only model: a row is a window of a history, of which one forward supervises every item.

    windows = Windows(histories, token_ids, pieces, max_history=20)
    for rows in windows.epoch(seed=17, number=0, batch_size=64):
        batch = windows.collate(rows)                      # batch.inline: the targets stand in the prompt itself

A row is the beginning of a prompt and then items, each closed by the end token: every item ends the prompt of the next
one. `samples.Samples` has one row for each of these prompts, with the same tokens; a test holds the losses equal.

A history that is too long for one row is cut into windows. Every item is taught exactly once, and with at least half a
window of items before it, where it has so many. A window follows from its end alone, so that is all that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from components.recommender.batches.batch import IGNORED, PAD, Batch, Ends
from components.recommender.batches.epochs import PORTION, Drawn
from components.recommender.batches.pools import Places, Pools
from components.recommender.batches.prefixes import Prefixes, evenly
from components.recommender.batches.training_set import TrainingSet
from components.storage.ragged import Ints, Ragged, slices


@dataclass(frozen=True)
class Spans:
    """Some windows, as places in the packed histories: items[first:end] are read, items[taught:end] are taught."""

    first: Ints
    taught: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Ints | slice) -> Spans:
        return Spans(self.first[rows], self.taught[rows], self.end[rows])


@dataclass(frozen=True)
class WindowRows(Drawn):
    """The windows of one batch, their phrasings, and the length they are padded to."""

    spans: Spans
    wordings: Ints
    """[rows]: seeds of the wordings of each window's items."""


class Windows(TrainingSet[WindowRows]):
    """All windows of a set of histories under one ID table; the arguments are those of `TrainingSet`. With `known`, no
    window teaches both items that a model has learned and others.

    `pieces` are closed and have no tails (`Prompts.open_ended`). The first item of a history is taught too, from the
    prompt without items: what is likely for anyone. With `wordings` an item that another wording stands for is read and
    not taught: what it is read as is what it would be taught as.
    """

    @cached_property
    def _head_lengths(self) -> Ints:
        assert self._pieces.closed and not any(self._pieces.tails), "a prompt must be the beginning of each longer one"
        return self._heads.lengths

    @property
    def _written(self) -> Ragged:
        return self._separated

    @cached_property
    def ends(self) -> NDArray[np.integer]:
        """Ends of the windows that teach every item once, from the newest end of each history backwards."""
        if self._known is None:
            return self._ends(self._offsets[:-1], self._offsets[1:])
        pools = self._pools
        return np.concatenate([np.asarray(pools.new), np.asarray(pools.old)])

    def _ends(self, begins: Ints, ends: Ints) -> NDArray[np.integer]:
        """Ends of the windows that teach the items begins[i]:ends[i] of each user i, as `spans` cuts them."""
        kind = np.int32 if len(self._items) < 2**31 else np.int64
        found = [np.zeros(0, dtype=kind)]
        for start in range(0, len(begins), PORTION):
            begin, end = begins[start : start + PORTION], ends[start : start + PORTION]
            begin, end = begin[end > begin], end[end > begin]
            while len(end):
                found.append(end.astype(kind))
                taught = self.spans(end)[0].taught
                begin, end = begin[taught > begin], taught[taught > begin]
        return np.concatenate(found)

    def _new_and_old(self, known: Ints) -> Pools:
        begin, end = self._offsets[:-1], self._offsets[1:]
        bound = begin + known
        return Pools(self._ends(bound, end), self._ends(begin, bound), newest=bound[np.flatnonzero(known)])

    def spans(self, ends: NDArray[np.integer]) -> tuple[Spans, Ints]:
        """The windows with these ends, and the tokens that are read of each, without the head.

        The first item is that of the prompt of the last one, as `Pieces.build` cuts it.
        """
        end = ends.astype(np.int64)
        begin = self._offsets[np.searchsorted(self._offsets, end, side="left") - 1]
        room = np.full(len(end), self._max_tokens - int(self._head_lengths.max()))
        first, tokens = self._before(begin, end - 1, room, self._kinds(end))
        # The upper half of a window that does not reach back to the beginning; the lower half is taught by others.
        taught = np.where(first == begin, begin, first + (end - first + 1) // 2)
        if self._known is not None:
            bound = begin + self._known[np.searchsorted(self._offsets, end, side="left") - 1]
            taught = np.where(end > bound, np.maximum(taught, bound), taught)
        return Spans(first, taught, end), tokens + self._separated.lengths[self._items[end - 1]] - 1

    def _count(self, prefixes: Prefixes) -> int:
        return len(self.ends) if prefixes == "all" else len(self._learners)

    def _of_users(self, users: NDArray[np.bool_], prefixes: Prefixes) -> Places:
        if prefixes == "one":
            return super()._of_users(users, prefixes)
        return np.flatnonzero(users[np.searchsorted(self._offsets, self.ends, side="left") - 1])

    def _draw(self, samples: Ints, random: np.random.Generator, prefixes: Prefixes) -> tuple[WindowRows, Ints]:
        ends = self.ends[samples] if prefixes == "all" else self._drawn(samples, random) + 1
        rows, lengths = self._draw_at(ends, random)
        if prefixes == "one":
            rows = replace(rows, spans=Spans(rows.spans.first, rows.spans.end - 1, rows.spans.end))
        return rows, lengths

    def _draw_at(self, ends: NDArray[np.integer], random: np.random.Generator) -> tuple[WindowRows, Ints]:
        templates = random.integers(len(self._head_lengths), size=len(ends))
        spans, tokens = self.spans(ends)
        return WindowRows(templates, 0, spans, self._draws(random, len(ends))), self._head_lengths[templates] + tokens

    def _longest(self) -> int:
        anywhere = evenly(len(self._items)) + 1  # a window of one target may end at any item, and be longer than all
        if len(anywhere) < len(self._items):  # not every one was looked at: the longest prompt and the longest ID
            return self._max_tokens + int(self._separated.lengths.max())
        return int(self._head_lengths.max()) + int(self.spans(anywhere)[1].max(initial=0))

    def collate(self, rows: WindowRows) -> Batch:
        """The tensors of one batch; labels[r, t] is what follows input_ids[r, t], where that is taught."""
        spans, heads = rows.spans, self._head_lengths[rows.templates]
        # One more than is read: the last token of a row is written, never read.
        tokens = np.full((len(rows), rows.length + 1), PAD, dtype=np.int64)
        labels = np.full((len(rows), rows.length + 1), IGNORED, dtype=np.int64)
        row, column, token = self._heads.gather(rows.templates)
        tokens[row, column] = token
        written = self._between(spans.first, spans.end, rows.wordings, last=True)
        row, column, token, place = written.row, written.column, written.token, written.place
        tokens[row, heads[row] + column] = token
        taught = (place >= spans.taught[row]) & written.own  # what is taught is the ID
        labels[row[taught], (heads[row] + column)[taught]] = token[taught]
        mask = np.arange(1, rows.length + 1) < (heads + np.bincount(row, minlength=len(rows)))[:, None]
        # The end of the last item of a row is written, never read.
        last = written.last_tokens()
        last = last[np.append(row[last][1:] == row[last][:-1], False)] if len(last) else last
        batch = Batch(
            torch.from_numpy(np.ascontiguousarray(tokens[:, :-1] * mask)),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(labels[:, 1:])),
            int(taught.sum()),
            inline=True,
            ends=Ends.of(row[last], (heads[row] + column)[last], self._items[place[last]]),
        )
        places = row * rows.length + heads[row] + column - 1
        if self._soft:
            begins = taught & np.append(True, (place[1:] != place[:-1]) | (row[1:] != row[:-1]))
            batch = replace(batch, soft=self._soft.of(place[begins], self._items[place[begins]], places[begins]))
        if not self.paths:
            return batch
        row, column, item = slices(self._items, spans.first, spans.end - spans.first)
        of_taught = (spans.first[row] + column >= spans.taught[row]) & written.own_items
        owner, _, node = self.paths.nodes.gather(item)
        nodes = node[of_taught[owner]]
        return batch.over(self.paths.choices(places[taught], nodes))
