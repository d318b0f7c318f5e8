"""What the searches for a CPU and a GPU share: settings, the next token of each beam, which candidates live or end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from components.networks.interface import LanguageModel
from components.recommender.search.beams import NEVER, Finished, Hits, Live
from components.recommender.search.excluded import Excluded
from components.recommender.trie.trie import Trie
from components.settings.decoding import Scores

_ROWS_AT_ONCE = 8
"""Prompts that a CPU reads together: of 64 of Beauty's users, decoded by 32, 13 % of the tokens are then padding, not
36 %."""


class TrieSearch(ABC):
    """Beam search with one model, one trie and one set of settings."""

    def __init__(
        self, model: LanguageModel, trie: Trie, *, beams: int, results: int, scores: Scores, length_penalty: float
    ) -> None:
        """results: items returned per user, at most `beams`. Scores are divided by length ** length_penalty."""
        self.model, self.trie, self.beams, self.results = model, trie, beams, results
        self.scores, self.length_penalty = scores, length_penalty

    @abstractmethod
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, excluded: Excluded | None) -> Hits:
        """Prompts [users, S] -> the best items of each user."""

    def prefill(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """The model's cache of the prompts, with room for every token that the search can write."""
        capacity = 1 + self.beams * max(1, self.trie.depth - 1)
        return self.model.prefill(input_ids, attention_mask, capacity=capacity, rows_at_once=_ROWS_AT_ONCE)

    def write(self, live: Live) -> Tensor:
        """Write the tokens on which the live beams stand: hidden states [users * beams, d], float32."""
        if live.depth:
            tokens = self.trie.vocabulary[self.trie.columns[live.nodes].long()]
        else:
            tokens = torch.full_like(live.nodes, self.model.start_token)
        hidden = self.model.step(live.cache, tokens[:, :, None], live.parents)
        return hidden[:, :, 0].flatten(0, 1).float()

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
        return scores / self.trie.lengths[items].float() ** self.length_penalty if self.length_penalty else scores

    def bound(self, live: Live) -> Tensor:
        """The best normalised score that each beam can still end with: scores never rise."""
        if not self.length_penalty:
            return live.scores
        # A positive penalty favours long IDs; with a negative one every further token makes it worse.
        length = self.trie.depth if self.length_penalty > 0 else live.depth
        return live.scores / float(length) ** self.length_penalty
