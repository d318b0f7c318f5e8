"""Items excluded from a user's results, as the trie nodes below which nothing else is left: exact, and nearly free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged


@dataclass(frozen=True)
class Excluded:
    """Per depth, the (user, node) pairs below which a user has no item left."""

    keys: tuple[Tensor, ...]
    """Per depth: user * nodes + node, rising. Their sizes are known on the host: an empty depth costs nothing."""
    nodes: int

    @classmethod
    def of(cls, trie: Trie, excluded: Sequence[Sequence[int]]) -> Excluded:
        """`excluded`: item numbers per user, in any order, repeated or not."""
        packed = Ragged.of(excluded)
        users, items = packed.owners, packed.values
        pairs = np.unique(users * trie.items + items)
        users, items = pairs // trie.items, pairs % trie.items
        device, below = trie.children.device, trie.host["below"]
        keys: list[Tensor] = [torch.empty(0, dtype=torch.long, device=device)] * (trie.depth + 1)
        for level, found, counts in nodes_above(trie, users, items):
            dead = found[counts == below[found % trie.nodes]]
            keys[level] = torch.from_numpy(dead).to(device, non_blocking=True)
        return cls(tuple(keys), trie.nodes)

    def apply(self, scores: Tensor, users: Tensor, nodes: Tensor, depth: int) -> Tensor:
        """`scores` [n] with -inf where the node at `depth` holds nothing for its user."""
        keys = self.keys[depth]
        if not len(keys):
            return scores
        return scores.masked_fill(found_in(keys, users * self.nodes + nodes)[1], float("-inf"))


def nodes_above(
    trie: Trie, users: NDArray[np.int64], items: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """From the deepest depth to the first: (depth, user * nodes + node, rising, how many of the items stand below it).

    users, items [n]: pairs, each once.
    """
    parents = trie.host["parents"]
    node, depth = trie.host["ends"][items].astype(np.int64), trie.host["lengths"][items]
    for level in range(trie.depth, 0, -1):
        here = depth >= level
        yield level, *np.unique(users[here] * trie.nodes + node[here], return_counts=True)
        node[here] = parents[node[here]]


def found_in(keys: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Place of each of `wanted` among rising `keys`, and whether it is there; both of the shape of `wanted`."""
    if not len(keys):
        return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return place, keys[place] == wanted
