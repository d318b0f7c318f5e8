"""Exact scores of given items: one pass over the prefixes of their IDs, each of which is read once for a user.

    scoring = ForcedScoring(model, trie, candidates=200, scores="trie", length_penalty=0.0)
    scoring(input_ids, attention_mask, candidates)                    # [n]: a score for each value of a `Ragged`

The scores are those that the beam search gives to the items that it finds. The live beams of a step are the nodes above
the candidates of a user, all of them, whatever they score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.networks.interface import LanguageModel
from components.recommender.search.beams import NEVER, Children, Live
from components.recommender.search.cpu import CpuSearch
from components.recommender.search.excluded import found_in, nodes_above
from components.recommender.trie.trie import Trie
from components.storage.ragged import Ragged


class ForcedScoring(CpuSearch):
    """Scores of given items, bound to a model, a trie and settings. Shapes follow the data, on a GPU as well."""

    def __init__(self, model: LanguageModel, trie: Trie, *, candidates: int, **settings: Any) -> None:
        """candidates: most items that a user has; more of them cost memory. `scores`, `length_penalty`: as in
        `BeamSearch`."""
        super().__init__(model, trie, beams=max(1, candidates), results=max(1, candidates), **settings)

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, candidates: Ragged) -> Tensor:  # type: ignore[override]
        """Score [n] float32 of each of the item numbers `candidates` [users] -> values [n], of prompts [users, S]."""
        trie, users, device = self.trie, len(input_ids), input_ids.device
        wanted = _Wanted.of(trie, candidates, device)
        live = Live.at_root(self.prefill(input_ids, attention_mask), users, device)
        while live.depth < trie.depth and live.nodes.shape[1]:
            if self.scores == "vocabulary" and live.depth and (steps := self._chains(live)) is not None:
                scores, items = self._finish_chains(live, steps)
                wanted.found(scores, items, live.scores > NEVER)
                break
            hidden = self.write(live)
            children = Children.of(trie, live.nodes, live.scores)
            # The clamp is that of the search.
            gained = self._log_probabilities(hidden, children).clamp(max=0.0)
            total = live.scores.flatten().index_select(0, children.owner) + gained
            self._go_on(live, children, total, wanted)
        return wanted.scores

    def _go_on(self, live: Live, children: Children, total: Tensor, wanted: _Wanted) -> None:
        """Finish the candidates that are complete, and go on with all other prefixes of candidates."""
        live.depth += 1
        needed = wanted.above(children.user, children.node, live.depth).nonzero()[:, 0]
        user, node = children.user[needed], children.node[needed]
        score, beam = total[needed], children.beam[needed]
        complete, item = self._complete(node), self.trie.lowest[node].long()
        done = complete.nonzero()[:, 0]
        wanted.take(user[done], item[done], self.normalised(score[done], item[done]))
        left = (~complete).nonzero()[:, 0]
        users = len(live.nodes)
        user, counts = user[left], torch.bincount(user[left], minlength=users)
        place = torch.arange(len(left), device=user.device) - (counts.cumsum(0) - counts).index_select(0, user)
        at, shape = (user, place), (users, int(counts.max()))
        live.nodes = torch.zeros(shape, dtype=torch.long, device=user.device).index_put(at, node[left].long())
        live.scores = torch.full(shape, NEVER, device=user.device).index_put(at, score[left])
        live.parents = torch.zeros_like(live.nodes).index_put(at, beam[left])


class _Wanted:
    """The candidates of all users: the nodes above them, and the scores that were found."""

    def __init__(self, keys: tuple[Tensor, ...], nodes: int, items: int, pairs: Tensor, back: Tensor) -> None:
        self._keys, self._nodes, self._items, self._pairs, self._back = keys, nodes, items, pairs, back
        self._found = torch.full((len(pairs),), NEVER, device=pairs.device)

    @classmethod
    def of(cls, trie: Trie, candidates: Ragged, device: torch.device) -> _Wanted:
        pairs, back = np.unique(candidates.owners * trie.items + candidates.values, return_inverse=True)
        keys = [np.zeros(0, np.int64)] * (trie.depth + 1)
        for level, found, _ in nodes_above(trie, pairs // trie.items, pairs % trie.items):
            keys[level] = found
        of_depth = tuple(torch.from_numpy(each).to(device) for each in keys)
        return cls(of_depth, trie.nodes, trie.items, *(torch.from_numpy(each).to(device) for each in (pairs, back)))

    def above(self, user: Tensor, node: Tensor, depth: int) -> Tensor:
        """Whether each node [n] at `depth` is a candidate of its user or stands above one."""
        return found_in(self._keys[depth], user * self._nodes + node)[1]

    def take(self, user: Tensor, item: Tensor, score: Tensor) -> None:
        """Note the score [n] of items that are candidates."""
        place, there = found_in(self._pairs, user * self._items + item)
        self._found[place[there]] = score[there]

    def found(self, scores: Tensor, items: Tensor, alive: Tensor) -> None:
        """The same of beams [users, beams]."""
        user, beam = alive.nonzero(as_tuple=True)
        self.take(user, items[user, beam], scores[user, beam])

    @property
    def scores(self) -> Tensor:
        """[n], in the order of the candidates that were given."""
        return self._found.index_select(0, self._back)
