"""The labels of a batch as choices among the children of trie nodes, for the loss over the trie.

    paths = Paths.of(trie)
    choices = paths.choices(places, nodes)         # in a batch, for `loss/trie_loss.py`

A token without alternative needs no teaching: of Beauty's IDs, 5.9 tokens with their end, half have one. The first
token of an ID is chosen among thousands, the same ones for all IDs, a later one among ten or so: so the first ones are
one matrix product, and the options of the later ones are listed one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.recommender.trie.trie import ROOT, Trie
from components.storage.ragged import Ints, Ragged, slices

_OPTIONS = 1 << 15
"""Options of a block, about: 25 MB of their output rows at d = 192."""


@dataclass(frozen=True)
class Choices:
    """The choices among the labels of a batch; places are counted through its labels, row by row."""

    opening: Tensor
    """[R] int64: the tokens with which IDs begin."""
    first: Tensor
    """[n] int64: places at which an ID begins."""
    first_labels: Tensor
    """[n] int64: which of `opening` each begins with."""
    later: Tensor
    """[k] int64: places of the other choices."""
    options: Tensor
    """[m] int64: the tokens that each of them chooses from, end to end."""
    owners: Tensor
    """[m] int64, rising: the choice, 0 to k - 1, that each option belongs to."""
    chosen: Tensor
    """[k] int64: which of the m options is the label."""
    blocks: tuple[tuple[int, int, int, int], ...]
    """Choices start:stop and options start:stop that are computed together; known to the host."""

    @property
    def count(self) -> int:
        """All choices: what the loss is a sum over."""
        return len(self.first) + len(self.later)

    def to(self, device: torch.device | str) -> Choices:
        names = ("opening", "first", "first_labels", "later", "options", "owners", "chosen")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True)
class Paths:
    """The nodes that the IDs of all items lead through: 4 bytes a token, end tokens included, beside the trie."""

    nodes: Ragged
    """Row i: the node reached by each token of item i's ID."""
    children: NDArray[np.int32]
    """[nodes + 1], `parents` and `tokens` [nodes]: the trie's, on the host; tokens are those of the model."""
    parents: NDArray[np.int32]
    tokens: Ints

    @classmethod
    def of(cls, trie: Trie) -> Paths:
        lengths = trie.lengths.numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        nodes, parents, at = np.zeros(offsets[-1], np.int32), trie.parents.numpy(), trie.ends.numpy().copy()
        for back in range(1, int(lengths.max()) + 1):
            live = lengths >= back
            nodes[(offsets[1:] - back)[live]] = at[live]
            at[live] = parents[at[live]]
        tokens = trie.vocabulary.numpy()[trie.columns.numpy()]
        return cls(Ragged(offsets, nodes), trie.children.numpy(), parents, tokens)

    def of_labels(self, items: Ints, width: int) -> Choices:
        """Of labels [rows, width] that are the whole IDs of `items` [rows]."""
        row, column, node = self.nodes.gather(items)
        return self.choices(row * width + column, node)

    def choices(self, places: Ints, nodes: NDArray[np.integer]) -> Choices:
        """Of labels at `places` [n] that lead to `nodes` [n]."""
        parent = self.parents[nodes]
        begins = parent == ROOT
        begin, end = (self.children[at].astype(np.int64) for at in (parent, parent + 1))
        open_ = ~begins & (end - begin > 1)
        begin, count = begin[open_], (end - begin)[open_]
        owners, _, options = slices(self.tokens, begin, count)
        ends = np.cumsum(count)
        return Choices(
            opening=torch.from_numpy(self.tokens[self.children[ROOT] : self.children[ROOT + 1]]),  # a view
            first=torch.from_numpy(places[begins]),
            first_labels=torch.from_numpy(nodes[begins].astype(np.int64) - self.children[ROOT]),
            later=torch.from_numpy(places[open_]),
            options=torch.from_numpy(options),
            owners=torch.from_numpy(owners),
            chosen=torch.from_numpy(ends - count + nodes[open_] - begin),
            blocks=blocks_of(ends),
        )


def blocks_of(ends: Ints) -> tuple[tuple[int, int, int, int], ...]:
    """Cut choices whose options end at `ends` [k] into blocks of about `_OPTIONS` options, at least one choice each."""
    if not len(ends):
        return ()
    block = (ends - 1) // _OPTIONS
    stops = [*(np.flatnonzero(np.diff(block)) + 1).tolist(), len(ends)]
    starts = [0, *stops[:-1]]
    sizes = np.concatenate([[0], ends])
    return tuple((a, b, int(sizes[a]), int(sizes[b])) for a, b in zip(starts, stops, strict=True))
