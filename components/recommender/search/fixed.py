"""Beam search as a GPU likes it: every shape is known beforehand, so that nothing in the loop waits for the device.

As many steps as the trie is deep, of as many beams, with as many children each as any node of that depth has; what is
not there has the score -inf. The logits are those of unconstrained decoding: one product with the output layer, of
which the children are picked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.recommender.search.beams import NEVER, Finished, Hits, Live, ranked
from components.recommender.search.excluded import Excluded
from components.recommender.search.rule import Rule
from components.recommender.trie.trie import Trie

_CELLS = 1 << 27
"""Logits at a time: 512 MiB."""


class FixedSearch:
    """The search of one rule."""

    def __init__(self, rule: Rule) -> None:
        self._rule, self._branching = rule, branching(rule.trie)
        recommender, trie = rule.recommender, rule.trie
        # In `trie` mode, the output layer of the tokens that IDs use is enough.
        everything = torch.arange(recommender.vocabulary_size, device=trie.vocabulary.device)
        self._rows = recommender.output_rows(everything if rule.scores == "vocabulary" else trie.vocabulary)

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, masked: Excluded | None) -> Hits:
        """Prompts [users, S] -> the best items of each user."""
        rule, users, device = self._rule, len(input_ids), input_ids.device
        live = Live.at_root(rule.prefill(input_ids, attention_mask), users, device)
        finished = Finished.none(users, rule.beams, device)
        for _ in range(rule.trie.depth):
            self._advance(live, finished, masked)
        scores, items = finished.scores[:, : rule.results], finished.items[:, : rule.results]
        return Hits(torch.where(scores > NEVER, items, -1), scores)

    def _advance(self, live: Live, finished: Finished, masked: Excluded | None) -> None:
        """Write one more token to all beams."""
        trie = self._rule.trie
        hidden = self._rule.write(live)
        nodes, legal = self._children(live)
        gained = self._log_probabilities(hidden, nodes, legal)
        # The clamp is that of the ragged search: a probability near 1 may round to more.
        total = (live.scores[:, :, None] + gained.clamp(max=0.0)).masked_fill(~legal, NEVER)
        if masked is not None:
            total = masked.apply(total, finished.users[:, None, None], nodes, live.depth + 1)
        total, node = total.flatten(1), nodes.flatten(1)
        best = ranked(total, trie.lowest[node], min(2 * self._rule.beams, total.shape[1]))
        parent = best.div(nodes.shape[2], rounding_mode="floor")
        self._rule.take(live, finished, total.gather(1, best), node.gather(1, best), parent)

    def _children(self, live: Live) -> tuple[Tensor, Tensor]:
        """Children of the live beams and which of them exist, [users, beams, most children at this depth]."""
        children = self._rule.trie.children
        first = children[live.nodes].long()
        counts = torch.where(live.scores > NEVER, children[live.nodes + 1] - first, 0)
        number = torch.arange(self._branching[live.depth], device=first.device)
        legal = number < counts[:, :, None]
        return torch.where(legal, first[:, :, None] + number, 0), legal

    def _log_probabilities(self, hidden: Tensor, nodes: Tensor, legal: Tensor) -> Tensor:
        """Log-probability of each child, shaped like `nodes`; `hidden` [users * beams, d] float32."""
        trie, whole = self._rule.trie, self._rule.scores == "vocabulary"
        column = trie.columns[nodes].long().flatten(0, 1)
        place, gained = trie.vocabulary[column] if whole else column, []
        at_once = max(1, _CELLS // len(self._rows))
        for states, wanted in zip(hidden.split(at_once), place.split(at_once), strict=True):
            with torch.autocast(
                hidden.device.type, enabled=False
            ):  # scores are float32, whatever the model computes in
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
