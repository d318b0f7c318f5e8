"""What every way of searching shares: the settings, what is written next, and which candidates live on or are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from components.recommender.models.interface import Recommender
from components.recommender.search.beams import NEVER, Finished, Live
from components.recommender.trie.trie import Trie

Scores = Literal["vocabulary", "trie"]


@dataclass(frozen=True)
class Rule:
    """One model, one trie, one set of settings."""

    recommender: Recommender
    trie: Trie
    beams: int
    results: int
    """Items returned per user, at most `beams`."""
    scores: Scores
    penalty: float
    """Scores are divided by length ** penalty."""

    def prefill(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """The model's state after the prompts, with room for every token that the search can write."""
        capacity = 1 + self.beams * max(1, self.trie.depth - 1)
        return self.recommender.prefill(input_ids, attention_mask, capacity=capacity)

    def write(self, live: Live) -> Tensor:
        """Write the tokens on which the live beams stand: hidden states [users * beams, d], float32."""
        if live.depth:
            tokens = self.trie.vocabulary[self.trie.columns[live.nodes].long()]
        else:
            tokens = torch.full_like(live.nodes, self.recommender.start_token)
        return self.recommender.step(live.state, tokens[:, :, None], live.parents)[:, :, 0].flatten(0, 1).float()

    def take(self, live: Live, finished: Finished, score: Tensor, node: Tensor, parent: Tensor) -> None:
        """Of the best 2 x beams candidates [users, n], falling: which are finished items, and which live on.

        The complete ones among the first `beams` are finished, and the first `beams` of the others live on: the rule
        of Hugging Face, which keeps enough live beams whatever finishes.
        """
        complete, first = self._complete(node), slice(0, self.beams)
        item = self.trie.lowest[node].long()
        finished.add(self.normalised(score, item).masked_fill(~complete, NEVER)[:, first], item[:, first])
        alive = score.masked_fill(complete, NEVER)
        kept = alive.argsort(dim=1, descending=True, stable=True)[:, first]
        live.nodes, live.scores, live.parents = node.gather(1, kept), alive.gather(1, kept), parent.gather(1, kept)
        live.depth += 1

    def _complete(self, nodes: Tensor) -> Tensor:
        """Whether an ID is certain at a node: its end token was written or, in `trie` mode, nothing else is left."""
        if self.scores == "trie":
            return self.trie.below[nodes] == 1
        return self.trie.columns[nodes] == self.trie.end_column

    def normalised(self, scores: Tensor, items: Tensor) -> Tensor:
        """Sums of log-probabilities as scores of the results."""
        return scores / self.trie.lengths[items].float() ** self.penalty if self.penalty else scores

    def bound(self, live: Live) -> Tensor:
        """The best normalised score that each beam can still end with: scores never rise."""
        if not self.penalty:
            return live.scores
        # A positive penalty favours long IDs; with a negative one every further token makes it worse.
        length = self.trie.depth if self.penalty > 0 else live.depth
        return live.scores / float(length) ** self.penalty
