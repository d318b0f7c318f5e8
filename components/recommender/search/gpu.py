"""Beam search for a GPU: every shape is known beforehand, so that nothing in the loop waits for the device.

As many steps as the trie is deep, of as many beams, with as many children each as any node of that depth has; what is
not there has the score -inf. The logits are those of unconstrained decoding: one product with the output layer, of
which the children are picked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from components.networks.interface import LanguageModel
from components.recommender.search.beams import NEVER, Finished, Hits, Live, ranked
from components.recommender.search.excluded import Excluded
from components.recommender.search.trie_search import TrieSearch
from components.recommender.trie.trie import Trie

_CELLS = 1 << 27
"""Logits at a time: 512 MiB."""


class GpuSearch(TrieSearch):
    """The search whose shapes depend on trie and settings alone."""

    def __init__(self, model: LanguageModel, trie: Trie, **settings: Any) -> None:
        super().__init__(model, trie, **settings)
        self._branching = branching(trie)
        # In `trie` mode, the output layer of the tokens that IDs use is enough.
        everything = torch.arange(model.vocabulary_size, device=trie.vocabulary.device)
        self._rows = model.output_rows(everything if self.scores == "vocabulary" else trie.vocabulary)

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, excluded: Excluded | None) -> Hits:
        users, device = len(input_ids), input_ids.device
        live = Live.at_root(self.prefill(input_ids, attention_mask), users, device)
        finished = Finished.none(users, self.beams, device)
        for _ in range(self.trie.depth):
            self._advance(live, finished, excluded)
        scores, items = finished.scores[:, : self.results], finished.items[:, : self.results]
        return Hits(torch.where(scores > NEVER, items, -1), scores)

    def _advance(self, live: Live, finished: Finished, excluded: Excluded | None) -> None:
        """Write one more token to all beams."""
        trie = self.trie
        hidden = self.write(live)
        nodes, legal = self._children(live)
        gained = self._log_probabilities(hidden, nodes, legal)
        # The clamp is that of the search for a CPU: a probability near 1 may round to more.
        total = (live.scores[:, :, None] + gained.clamp(max=0.0)).masked_fill(~legal, NEVER)
        if excluded is not None:
            total = excluded.apply(total, finished.users[:, None, None], nodes, live.depth + 1)
        total, node = total.flatten(1), nodes.flatten(1)
        best = ranked(total, trie.lowest[node], min(2 * self.beams, total.shape[1]))
        parent = best.div(nodes.shape[2], rounding_mode="floor")
        self.take(live, finished, total.gather(1, best), node.gather(1, best), parent)

    def _children(self, live: Live) -> tuple[Tensor, Tensor]:
        """Children of the live beams and which of them exist, [users, beams, most children at this depth]."""
        children = self.trie.children
        first = children[live.nodes].long()
        counts = torch.where(live.scores > NEVER, children[live.nodes + 1] - first, 0)
        number = torch.arange(self._branching[live.depth], device=first.device)
        legal = number < counts[:, :, None]
        return torch.where(legal, first[:, :, None] + number, 0), legal

    def _log_probabilities(self, hidden: Tensor, nodes: Tensor, legal: Tensor) -> Tensor:
        """Log-probability of each child, shaped like `nodes`; `hidden` [users * beams, d] float32."""
        trie, whole = self.trie, self.scores == "vocabulary"
        column = trie.columns[nodes].long().flatten(0, 1)
        place, gained = trie.vocabulary[column] if whole else column, []
        at_once = max(1, _CELLS // len(self._rows))
        for states, wanted in zip(hidden.split(at_once), place.split(at_once), strict=True):
            with torch.autocast(hidden.device.type, enabled=False):  # whatever the model computes in
                logits = states @ self._rows.T
            picked = logits.gather(1, wanted)
            gained.append(picked - logits.logsumexp(1, keepdim=True) if whole else picked)
        scores = torch.cat(gained).view(nodes.shape)
        return scores if whole else scores - scores.masked_fill(~legal, NEVER).logsumexp(2, keepdim=True)


def branching(trie: Trie) -> tuple[int, ...]:
    """Per depth, the most children that a node has (at least 1)."""
    counts = trie.children.diff()
    return tuple(
        max(1, int(counts[start:stop].max())) for start, stop in zip(trie.levels[:-2], trie.levels[1:], strict=False)
    )
