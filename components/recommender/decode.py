"""Beam search over a trie of IDs: the best items for a batch of users.

    search = BeamSearch(recommender, trie, beams=20, scores="trie")
    hits = search(input_ids, attention_mask, excluded=[[3, 8], []])
    hits.items, hits.scores                                # [users, results], best first; item -1: no more legal items

Two score modes. `vocabulary`: log-softmax over the whole vocabulary; the search is that of Hugging Face `generate` with
`prefix_allowed_tokens_fn`, `num_beams=beams` and `early_stopping="never"`. `trie`: log-softmax over the legal next
tokens alone; a token without alternative costs nothing, so an ID is complete as soon as it is the only one left.

What keeps it fast, all of it exact: the encoder and the cross-attention keys are computed once per user; candidates are
the children of live beams only; scores never rise, so a beam that cannot pass the `results`-th finished item is
dropped, and a user without beams leaves; and when every live beam stands on a chain without branches, one forward pass
scores the rest of all chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from components.errors import BadInput
from components.recommender.masks import Excluded
from components.recommender.model import Recommender
from components.recommender.trie import ROOT, Trie

Scores = Literal["vocabulary", "trie"]

NEVER = float("-inf")
"""Score of what cannot be taken."""

_GROUP = 2048
"""Users decoded together on a CPU x width of the model: 16 of d = 128 (never fewer than 8). Small models need many rows
to fill a matrix product; large ones have enough with few users, and then little of the prompts is padding."""

_CHAIN_SHARE = 0.7
"""Share of needed tokens from which on the rest of all chains is scored in one forward."""


@dataclass(frozen=True)
class Hits:
    """The results of a batch of users."""

    items: Tensor
    """[users, results] int64: item numbers of the trie, best first; -1 where a user has fewer legal items."""
    scores: Tensor
    """[users, results] float32: sum of log-probabilities / length ** length_penalty; -inf where there is no item."""


@dataclass
class _Finished:
    """Per user the best finished items so far, and where the user stands in the batch that came in."""

    users: Tensor
    """[users]: row of the answer."""
    scores: Tensor
    """[users, beams], falling."""
    items: Tensor

    def add(self, scores: Tensor, items: Tensor) -> None:
        """Take in candidates [users, n]; -inf is none."""
        scores, items = torch.cat([self.scores, scores], 1), torch.cat([self.items, items], 1)
        best = _ranked(scores, items, self.scores.shape[1])
        self.scores, self.items = scores.gather(1, best), items.gather(1, best)


@dataclass
class _Candidates:
    """The children of all live beams of all users, end to end (n in all)."""

    user: Tensor
    """[n]: row of the batch."""
    beam: Tensor
    """[n]: which beam of the user the child belongs to."""
    node: Tensor
    """[n]: the child."""
    place: Tensor
    """[n]: number of the child among all of its user."""
    most: int
    """Children of the user that has most."""


class BeamSearch:
    """One search, bound to a model, a trie and its settings; call it with one batch of prompts after the other."""

    def __init__(
        self,
        recommender: Recommender,
        trie: Trie,
        *,
        beams: int,
        results: int | None = None,
        scores: Scores = "vocabulary",
        length_penalty: float = 0.0,
    ) -> None:
        """`results`: items returned per user, at most `beams` (default: all beams).

        Raises `BadInput` for settings out of bounds and for an ID token that the model does not have.
        """
        self._recommender, self._trie = recommender, trie
        self._beams, self._results = beams, beams if results is None else results
        self._mode, self._penalty = scores, length_penalty
        where, mend = "decoding", "see components/recommender/decode.py"
        if not 1 <= self._results <= beams:
            raise BadInput(
                f"{self._results} results of {beams} beams", where=where, mend="ask for 1 to as many as beams"
            )
        if scores not in ("vocabulary", "trie"):
            raise BadInput(f"unknown score mode {scores!r}", where=where, mend=mend)
        check_vocabulary(recommender, trie)
        self._rows = recommender.output_rows(trie.vocabulary)

    @torch.no_grad()
    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, *, excluded: Sequence[Sequence[int]] | None = None
    ) -> Hits:
        """Prompts [users, S] -> the best items of each user. `excluded`: item numbers that each user must not get.

        Prompts are padded on the right. Excluded items neither come out nor take a beam from another item, and change
        no other item's score.
        """
        shape = len(input_ids), self._results
        items = torch.full(shape, -1, device=input_ids.device)
        scores = torch.full(shape, NEVER, device=input_ids.device)
        for users, width in _alike(attention_mask, max(8, _GROUP // self._rows.shape[1])):
            theirs = None if excluded is None else [excluded[user] for user in users.tolist()]
            hits = self._decode(input_ids[users, :width], attention_mask[users, :width], theirs)
            items[users], scores[users] = hits.items, hits.scores
        return Hits(items, scores)

    def _decode(self, input_ids: Tensor, attention_mask: Tensor, excluded: Sequence[Sequence[int]] | None) -> Hits:
        trie, users, device = self._trie, len(input_ids), input_ids.device
        capacity = 1 + self._beams * max(1, trie.depth - 1)
        state = self._recommender.prefill(input_ids, attention_mask, capacity=capacity)
        masked = Excluded.of(trie, excluded) if excluded is not None else None
        finished = _Finished(
            torch.arange(users, device=device),
            torch.full((users, self._beams), NEVER, device=device),
            torch.full((users, self._beams), -1, device=device),
        )
        answer = Hits(finished.items[:, : self._results].clone(), finished.scores[:, : self._results].clone())
        nodes = torch.full((users, 1), ROOT, device=device)
        scores = torch.zeros(users, 1, device=device)
        parents = torch.zeros_like(nodes)
        for depth in range(trie.depth):
            if self._mode == "vocabulary" and depth and (wanted := self._chains(nodes, scores, depth)) is not None:
                finished.add(*self._finish_chains(state, nodes, scores, parents, depth, wanted))
                break
            tokens = trie.vocabulary[trie.columns[nodes].long()] if depth else torch.full_like(nodes, self._start)
            hidden = self._recommender.step(state, tokens[:, :, None], parents)[:, :, 0]
            nodes, scores, parents = self._advance(hidden, nodes, scores, depth, finished, masked)
            state, nodes, scores, parents = self._compact(state, nodes, scores, parents, depth, finished, answer)
            if not nodes.numel():
                return answer
        _write(finished, answer)
        return answer

    @property
    def _start(self) -> int:
        return self._recommender.start_token

    def _advance(
        self, hidden: Tensor, nodes: Tensor, scores: Tensor, depth: int, finished: _Finished, masked: Excluded | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From hidden states [users, beams, d] to the next live beams: (nodes, scores, parents), best first.

        Of the best 2 x beams candidates, the complete ones among the first `beams` are finished, and the first `beams`
        of the others live on: the rule of Hugging Face, which keeps enough live beams whatever finishes.
        """
        trie = self._trie
        children = self._children(nodes, scores)
        gained = self._log_probabilities(hidden, nodes, children)
        total = scores[children.user, children.beam] + gained
        if masked is not None:
            total = masked.apply(total, finished.users[children.user], children.node, depth + 1)
        shape = (len(nodes), max(children.most, 1))
        at = children.user, children.place
        score = torch.full(shape, NEVER, device=nodes.device).index_put(at, total)
        node = torch.zeros(shape, dtype=torch.long, device=nodes.device).index_put(at, children.node)
        parent = torch.zeros_like(node).index_put(at, children.beam)
        best = _ranked(score, trie.lowest[node], min(2 * self._beams, shape[1]))
        score, node, parent = score.gather(1, best), node.gather(1, best), parent.gather(1, best)
        complete = self._complete(node)
        first = slice(0, self._beams)
        item = trie.lowest[node].long()
        finished.add(self._normalised(score, item).masked_fill(~complete, NEVER)[:, first], item[:, first])
        alive = score.masked_fill(complete, NEVER)
        kept = alive.argsort(dim=1, descending=True, stable=True)[:, first]
        return node.gather(1, kept), alive.gather(1, kept), parent.gather(1, kept)

    def _complete(self, nodes: Tensor) -> Tensor:
        """Whether an ID is certain at a node: its end token was written or, in `trie` mode, nothing else is left."""
        if self._mode == "trie":
            return self._trie.below[nodes] == 1
        return self._trie.columns[nodes] == self._trie.end_column

    def _normalised(self, scores: Tensor, items: Tensor) -> Tensor:
        return scores / self._trie.lengths[items].float() ** self._penalty if self._penalty else scores

    def _children(self, nodes: Tensor, scores: Tensor) -> _Candidates:
        users, beams = nodes.shape
        first = self._trie.children[nodes].long()
        counts = torch.where(scores > NEVER, self._trie.children[nodes + 1] - first, 0)
        owner = torch.arange(users * beams, device=nodes.device).repeat_interleave(counts.flatten())
        number = torch.arange(len(owner), device=nodes.device)
        begin = counts.flatten().cumsum(0) - counts.flatten()
        user = owner.div(beams, rounding_mode="floor")
        per_user = counts.sum(1)
        return _Candidates(
            user=user,
            beam=owner - user * beams,
            node=first.flatten()[owner] + number - begin[owner],
            place=number - (per_user.cumsum(0) - per_user)[user],
            most=int(per_user.max()),
        )

    def _log_probabilities(self, hidden: Tensor, nodes: Tensor, children: _Candidates) -> Tensor:
        """Log-probability [n] of each child, given its beam."""
        beams = nodes.shape[1]
        owner = children.user * beams + children.beam
        column = self._trie.columns[children.node].long()
        flat = hidden.flatten(0, 1).float()
        logits = self._child_logits(flat, owner, column)
        if self._mode == "vocabulary":
            live, which = owner.unique_consecutive(return_inverse=True)
            return logits - self._recommender.normaliser(flat[live])[which]
        top = torch.full((len(flat),), NEVER, device=flat.device).scatter_reduce(0, owner, logits, "amax")
        shifted = logits - top[owner]
        total = torch.zeros(len(flat), device=flat.device).index_add(0, owner, shifted.exp())
        return shifted - total.log()[owner]

    def _child_logits(self, hidden: Tensor, owner: Tensor, column: Tensor) -> Tensor:
        """hidden[owner[i]] . rows[column[i]]: by gathering where children are few, else by one product with all rows.

        A gathered product moves two rows of memory a child and costs some 50 times a multiply-add of a matrix product.
        """
        if len(owner) * 50 < len(hidden) * len(self._rows):
            return (hidden[owner] * self._rows[column]).sum(1)
        with torch.autocast(hidden.device.type, enabled=False):  # scores are float32, whatever the model computes in
            return (hidden @ self._rows.T)[owner, column]

    def _chains(self, nodes: Tensor, scores: Tensor, depth: int) -> Tensor | None:
        """Where every live beam has one ID left: which steps each beam still needs, [users, beams, steps] bool.

        None where a beam branches, or where chains differ so much in length that one forward over the longest would
        compute more padding than it saves steps.
        """
        live = scores > NEVER
        if not bool(((self._trie.below[nodes] == 1) | ~live).all()):
            return None
        left = torch.where(live, self._trie.lengths[self._trie.lowest[nodes]] - depth, 0)
        wanted = torch.arange(int(left.max()), device=nodes.device) < left[:, :, None]
        return wanted if int(wanted.sum()) >= _CHAIN_SHARE * wanted.numel() else None

    def _finish_chains(
        self, state: Any, nodes: Tensor, scores: Tensor, parents: Tensor, depth: int, wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score the rest of each live beam's only ID in one forward: (normalised scores, items), both [users, beams].

        No beam branches any more, so all of them finish, and the step by step search would end with the same scores.
        """
        items = self._trie.lowest[nodes].long()
        column = self._trie.ids[items][:, :, depth - 1 : depth + wanted.shape[2]].long()
        hidden = self._recommender.step(state, self._trie.vocabulary[column[:, :, :-1]], parents)[wanted].float()
        gained = torch.zeros(wanted.shape, device=nodes.device)
        targets = self._rows[column[:, :, 1:][wanted]]
        gained[wanted] = (hidden * targets).sum(1) - self._recommender.normaliser(hidden)
        return self._normalised(scores + gained.sum(2), items), items

    def _compact(
        self,
        state: Any,
        nodes: Tensor,
        scores: Tensor,
        parents: Tensor,
        depth: int,
        finished: _Finished,
        answer: Hits,
    ) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Drop beams that cannot reach the results any more, and users without beams, whose answer is written."""
        needed = finished.scores[:, self._results - 1 : self._results]
        scores = torch.where(self._bound(scores, depth) < needed, NEVER, scores)
        live = scores > NEVER
        width = int(live.sum(1).max())
        # Beams are in falling order and the bound is monotone, so that the live ones come first.
        nodes, scores, parents = nodes[:, :width], scores[:, :width], parents[:, :width]
        going = live.any(1)
        # Leaving costs a copy of the caches of those that stay.
        if int(going.sum()) <= 0.75 * len(going):
            _write(finished, answer)
            stay = going.nonzero()[:, 0]
            nodes, scores, parents = nodes[stay], scores[stay], parents[stay]
            finished.users, finished.scores, finished.items = (
                finished.users[stay],
                finished.scores[stay],
                finished.items[stay],
            )
            state = self._recommender.select(state, stay) if len(stay) else state
        return state, nodes, scores, parents

    def _bound(self, scores: Tensor, depth: int) -> Tensor:
        """The best normalised score that a beam of `depth` + 1 tokens can still end with: scores never rise."""
        if not self._penalty:
            return scores
        # A positive penalty favours long IDs; with a negative one every further token makes it worse.
        length = self._trie.depth if self._penalty > 0 else depth + 1
        return scores / float(length) ** self._penalty


def check_vocabulary(recommender: Recommender, trie: Trie) -> None:
    """Raises `BadInput` if an ID uses a token that the model does not have: its table is of another tokenizer."""
    if int(trie.vocabulary[-1]) >= recommender.vocabulary_size:
        raise BadInput(
            f"the ID table uses token {int(trie.vocabulary[-1])}, the model has {recommender.vocabulary_size}",
            where="ID table and recommender",
            mend="use the table that was written with this model's tokenizer",
        )


def _alike(attention_mask: Tensor, size: int) -> list[tuple[Tensor, int]]:
    """Users in groups of `size`, of like prompt length: (users [n], longest prompt of the group).

    On a GPU, where the lengths would have to be waited for and more rows cost nothing, all are one group.
    """
    users, width = attention_mask.shape
    if not users:
        return []
    if attention_mask.is_cuda or users <= size:
        return [(torch.arange(users, device=attention_mask.device), width)]
    lengths = attention_mask.sum(1)
    groups = lengths.argsort(stable=True).split(size)
    return [(group, int(lengths[group].max())) for group in groups]


def _write(finished: _Finished, answer: Hits) -> None:
    results = answer.items.shape[1]
    scores = finished.scores[:, :results]
    answer.scores[finished.users] = scores
    answer.items[finished.users] = torch.where(scores > NEVER, finished.items[:, :results], -1)


def _ranked(scores: Tensor, items: Tensor, count: int) -> Tensor:
    """Places [users, count] of the best scores [users, n], falling; equal scores by the smaller item number.

    One top-k over integers: the bits of a float32, made monotone, above those of the item.
    """
    # Adding zero turns -0.0 into 0.0, whose bits differ.
    bits = (scores + 0.0).view(torch.int32).long()
    monotone = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = (monotone << 32) | (0x7FFFFFFF - items.long())
    return keys.topk(count, dim=1).indices
