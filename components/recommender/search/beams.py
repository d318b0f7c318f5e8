"""State of a beam search over the trie: live beams, their children, finished items. Ties go by item number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.recommender.trie.trie import ROOT, Trie

NEVER = float("-inf")
"""Score of what cannot be taken."""


@dataclass(frozen=True)
class Hits:
    """The results of a batch of users."""

    items: Tensor
    """[users, results] int64: item numbers of the trie, best first; -1 where a user has fewer legal items."""
    scores: Tensor
    """[users, results] float32: sum of log-probabilities / length ** length_penalty; -inf where there is no item."""

    @classmethod
    def none(cls, users: int, results: int, device: torch.device) -> Hits:
        """No results yet."""
        shape = users, results
        return cls(torch.full(shape, -1, device=device), torch.full(shape, NEVER, device=device))


@dataclass
class Live:
    """The beams of all users after `depth` tokens, best first; those with score -inf are dead and keep the shape."""

    cache: Any
    """What the model remembers of them."""
    nodes: Tensor
    """[users, beams]: where each stands in the trie."""
    scores: Tensor
    """[users, beams]: sum of log-probabilities."""
    parents: Tensor
    """[users, beams]: the beam of the step before that each goes on from."""
    depth: int

    @classmethod
    def at_root(cls, cache: Any, users: int, device: torch.device) -> Live:
        nodes = torch.full((users, 1), ROOT, device=device)
        return cls(cache, nodes, torch.zeros(users, 1, device=device), torch.zeros_like(nodes), 0)


@dataclass
class Finished:
    """Per user the best finished items so far, and where the user stands in the batch that came in."""

    users: Tensor
    """[users]: row of the answer."""
    scores: Tensor
    """[users, beams], falling."""
    items: Tensor

    @classmethod
    def none(cls, users: int, beams: int, device: torch.device) -> Finished:
        hits = Hits.none(users, beams, device)
        return cls(torch.arange(users, device=device), hits.scores, hits.items)

    def add(self, scores: Tensor, items: Tensor) -> None:
        """Take in candidates [users, n]; -inf is none."""
        scores, items = torch.cat([self.scores, scores], 1), torch.cat([self.items, items], 1)
        best = ranked(scores, items, self.scores.shape[1])
        self.scores, self.items = scores.gather(1, best), items.gather(1, best)

    def write(self, answer: Hits) -> None:
        """Put the best into the rows of `answer` that belong to these users."""
        results = answer.items.shape[1]
        scores = self.scores[:, :results]
        answer.scores[self.users] = scores
        answer.items[self.users] = torch.where(scores > NEVER, self.items[:, :results], -1)

    def keep(self, rows: Tensor) -> None:
        """Forget all users but those in `rows`."""
        self.users, self.scores, self.items = self.users[rows], self.scores[rows], self.items[rows]


@dataclass(frozen=True)
class Children:
    """The children of all live beams of all users, end to end (n in all)."""

    user: Tensor
    """[n]: row of the batch."""
    beam: Tensor
    """[n]: which beam of the user the child belongs to."""
    owner: Tensor
    """[n], rising: user * beams + beam."""
    starts: Tensor
    """[users * beams + 1]: where the children of each beam begin among the n."""
    node: Tensor
    """[n]: the child."""
    place: Tensor
    """[n]: number of the child among all of its user."""
    most: int
    """Children of the user that has most."""

    @classmethod
    def of(cls, trie: Trie, nodes: Tensor, scores: Tensor) -> Children:
        """Of beams that stand at `nodes` [users, beams]; dead ones have none."""
        users, beams = nodes.shape
        # index_select, here and elsewhere: of single numbers ten times as fast as indexing.
        at = nodes.flatten()
        first = trie.children.index_select(0, at).long()
        counts = torch.where(scores.flatten() > NEVER, trie.children.index_select(0, at + 1) - first, 0)
        owner = torch.arange(users * beams, device=nodes.device).repeat_interleave(counts)
        number = torch.arange(len(owner), device=nodes.device)
        starts = torch.zeros(users * beams + 1, dtype=torch.long, device=nodes.device)
        torch.cumsum(counts, 0, out=starts[1:])
        user = owner.div(beams, rounding_mode="floor")
        per_user = counts.view(users, beams).sum(1)
        return cls(
            user=user,
            beam=owner - user * beams,
            owner=owner,
            starts=starts,
            node=(first - starts[:-1]).index_select(0, owner) + number,
            place=number - (per_user.cumsum(0) - per_user).index_select(0, user),
            most=int(per_user.max()),
        )

    def best(self, trie: Trie, scores: Tensor, *, users: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The `count` best of each user by `scores` [n], falling: (scores, nodes, beams) [users, <= count]."""
        shape = (users, max(self.most, 1))
        at = self.user, self.place
        score = torch.full(shape, NEVER, device=scores.device).index_put(at, scores)
        node = torch.zeros(shape, dtype=torch.long, device=scores.device).index_put(at, self.node)
        beam = torch.zeros_like(node).index_put(at, self.beam)
        lowest = trie.lowest.index_select(0, node.flatten()).view(shape)
        best = ranked(score, lowest, min(count, shape[1]))
        return score.gather(1, best), node.gather(1, best), beam.gather(1, best)


def ranked(scores: Tensor, items: Tensor, count: int) -> Tensor:
    """Places [users, count] of the best scores [users, n], falling; equal scores by the smaller item number.

    One top-k over integers: the bits of a float32, made monotone, above those of the item.
    """
    # Adding zero turns -0.0 into 0.0, whose bits differ.
    bits = (scores + 0.0).view(torch.int32).long()
    monotone = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = (monotone << 32) | (0x7FFFFFFF - items.long())
    return keys.topk(count, dim=1).indices
