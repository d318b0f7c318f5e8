"""Items excluded from a user's results, as the trie nodes below which nothing else is left: exact, and nearly free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
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
        device = trie.children.device
        below, parents = trie.host["below"], trie.host["parents"]
        node, depth = trie.host["ends"][items].astype(np.int64), trie.host["lengths"][items]
        keys: list[Tensor] = [torch.empty(0, dtype=torch.long, device=device)] * (trie.depth + 1)
        for level in range(trie.depth, 0, -1):
            here = depth >= level
            found, counts = np.unique(users[here] * trie.nodes + node[here], return_counts=True)
            dead = found[counts == below[found % trie.nodes]]
            keys[level] = torch.from_numpy(dead).to(device, non_blocking=True)
            node[here] = parents[node[here]]
        return cls(tuple(keys), trie.nodes)

    def apply(self, scores: Tensor, users: Tensor, nodes: Tensor, depth: int) -> Tensor:
        """`scores` [n] with -inf where the node at `depth` holds nothing for its user."""
        keys = self.keys[depth]
        if not len(keys):
            return scores
        wanted = users * self.nodes + nodes
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return scores.masked_fill(keys[place] == wanted, float("-inf"))
