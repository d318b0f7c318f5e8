"""Beam search for a CPU: nothing is computed for beams, children or users that are not there.

The shapes of a step depend on the data, which costs a CPU nothing, and a GPU a wait in each step (see `gpu.py`).
All of it is exact: candidates are the children of live beams only; scores never rise, so a beam that cannot pass the
`results`-th finished item is dropped, and a user without beams leaves; and when every live beam stands on a chain
without branches, one forward pass scores the rest of all chains.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from components.networks.cpu import linear
from components.networks.interface import LanguageModel
from components.recommender.search.beams import NEVER, Children, Finished, Hits, Live
from components.recommender.search.excluded import Excluded
from components.recommender.search.trie_search import TrieSearch
from components.recommender.trie.segment_softmax import segment_log_softmax
from components.recommender.trie.trie import Trie

_CHAIN_SHARE = 0.7
"""Share of needed tokens from which on the rest of all chains is scored in one forward."""

_STAY_SHARE = 0.75
"""Share of users still going at which the others leave the batch."""

_PRODUCT_COST = 8
"""A logit that is computed alone takes as long as so many of a product of all beams with all rows."""


class CpuSearch(TrieSearch):
    """The search whose shapes follow the data."""

    def __init__(self, model: LanguageModel, trie: Trie, **settings: Any) -> None:
        super().__init__(model, trie, **settings)
        self._rows = model.output_rows(trie.vocabulary)
        _silence_sparse_warning()

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, excluded: Excluded | None) -> Hits:
        users, device = len(input_ids), input_ids.device
        live = Live.at_root(self.prefill(input_ids, attention_mask), users, device)
        finished, answer = Finished.none(users, self.beams, device), Hits.none(users, self.results, device)
        while live.depth < self.trie.depth and live.nodes.numel():
            if self.scores == "vocabulary" and live.depth and (wanted := self._chains(live)) is not None:
                finished.add(*self._finish_chains(live, wanted))
                break
            self._advance(live, finished, excluded)
            self._compact(live, finished, answer)
        finished.write(answer)
        return answer

    def _advance(self, live: Live, finished: Finished, excluded: Excluded | None) -> None:
        """Write one more token to all live beams."""
        trie, nodes = self.trie, live.nodes
        hidden = self.write(live)
        children = Children.of(trie, nodes, live.scores)
        # Rounding can lift the logarithm of a probability near 1 above zero; the bounds rely on scores that never rise.
        gained = self._log_probabilities(hidden, children).clamp(max=0.0)
        total = live.scores.flatten().index_select(0, children.owner) + gained
        if excluded is not None:
            total = excluded.apply(total, finished.users[children.user], children.node, live.depth + 1)
        self.take(live, finished, *children.best(trie, total, users=len(nodes), count=2 * self.beams))

    def _log_probabilities(self, hidden: Tensor, children: Children) -> Tensor:
        """Log-probability [n] of each child; `hidden` [users * beams, d] float32."""
        owner = children.owner
        logits = self._child_logits(hidden, children)
        if self.scores == "vocabulary":
            asked, which = owner.unique_consecutive(return_inverse=True)
            return logits - self.model.normaliser(hidden.index_select(0, asked)).index_select(0, which)
        return segment_log_softmax(logits, owner, len(hidden))

    def _child_logits(self, hidden: Tensor, children: Children) -> Tensor:
        """Logit [n] of each child: the hidden state of its beam . the output row of its token, in float32."""
        column = self.trie.columns.index_select(0, children.node).long()
        size = len(hidden), len(self._rows)
        with torch.autocast(hidden.device.type, enabled=False):  # whatever the model computes in
            if len(column) * _PRODUCT_COST < size[0] * size[1]:
                nothing = torch.zeros(len(column), device=hidden.device)
                asked = torch.sparse_csr_tensor(children.starts, column, nothing, size, check_invariants=False)
                return torch.sparse.sampled_addmm(asked, hidden, self._rows.T, beta=0.0).values()
            return linear(hidden, self._rows).flatten().index_select(0, children.owner * len(self._rows) + column)

    def _chains(self, live: Live) -> Tensor | None:
        """Where every live beam has one ID left: which steps each beam still needs, [users, beams, steps] bool.

        None where a beam branches, or where chains differ so much in length that one forward over the longest would
        compute more padding than it saves steps.
        """
        alive = live.scores > NEVER
        if not bool(((self.trie.below[live.nodes] == 1) | ~alive).all()):
            return None
        left = torch.where(alive, self.trie.lengths[self.trie.lowest[live.nodes]] - live.depth, 0)
        wanted = torch.arange(int(left.max()), device=left.device) < left[:, :, None]
        return wanted if int(wanted.sum()) >= _CHAIN_SHARE * wanted.numel() else None

    def _finish_chains(self, live: Live, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Score the rest of each live beam's only ID in one forward: (normalised scores, items), both [users, beams].

        No beam branches any more, so all of them finish, and the step by step search would end with the same scores.
        """
        items = self.trie.lowest[live.nodes].long()
        column = self.trie.ids[items][:, :, live.depth - 1 : live.depth + wanted.shape[2]].long()
        tokens = self.trie.vocabulary[column[:, :, :-1]]
        hidden = self.model.step(live.cache, tokens, live.parents)[wanted].float()
        gained = torch.zeros(wanted.shape, device=wanted.device)
        targets = self._rows[column[:, :, 1:][wanted]]
        gained[wanted] = ((hidden * targets).sum(1) - self.model.normaliser(hidden)).clamp(max=0.0)
        return self.normalised(live.scores + gained.sum(2), items), items

    def _compact(self, live: Live, finished: Finished, answer: Hits) -> None:
        """Drop beams that cannot reach the results any more, and users without beams, whose answer is written."""
        results = self.results
        needed = finished.scores[:, results - 1 : results]
        live.scores = torch.where(self.bound(live) < needed, NEVER, live.scores)
        alive = live.scores > NEVER
        # Beams are in falling order and the bound is monotone, so that the live ones come first.
        width, going = int(alive.sum(1).max()), alive.any(1)
        parts = [part[:, :width] for part in (live.nodes, live.scores, live.parents)]
        # Leaving costs a copy of the caches of those that stay.
        if 0 < int(going.sum()) <= _STAY_SHARE * len(going):
            finished.write(answer)
            stay = going.nonzero()[:, 0]
            finished.keep(stay)
            parts = [part[stay] for part in parts]
            live.cache = self.model.select(live.cache, stay)
        live.nodes, live.scores, live.parents = parts


@cache
def _silence_sparse_warning() -> None:
    """torch warns once a process that its sparse tensors are in beta: let it, where nobody has to read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(
            torch.zeros(2, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0), (1, 1)
        )
