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
from typing import Literal

import torch
from torch import Tensor

from components.errors import BadInput
from components.recommender.beams import NEVER, Children, Finished, Hits, Live
from components.recommender.masks import Excluded
from components.recommender.model import Recommender
from components.recommender.trie import Trie

Scores = Literal["vocabulary", "trie"]

_GROUP = 2048
"""Users decoded together on a CPU x width of the model: 16 of d = 128 (never fewer than 8). Small models need many rows
to fill a matrix product; large ones have enough with few users, and then little of the prompts is padding."""

_CHAIN_SHARE = 0.7
"""Share of needed tokens from which on the rest of all chains is scored in one forward."""

_STAY_SHARE = 0.75
"""Share of users still going at which the others leave the batch."""


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
        answer = Hits.none(len(input_ids), self._results, input_ids.device)
        for users, width in _alike(attention_mask, max(8, _GROUP // self._rows.shape[1])):
            theirs = None if excluded is None else [excluded[user] for user in users.tolist()]
            hits = self._decode(input_ids[users, :width], attention_mask[users, :width], theirs)
            answer.items[users], answer.scores[users] = hits.items, hits.scores
        return answer

    def _decode(self, input_ids: Tensor, attention_mask: Tensor, excluded: Sequence[Sequence[int]] | None) -> Hits:
        trie, users, device = self._trie, len(input_ids), input_ids.device
        capacity = 1 + self._beams * max(1, trie.depth - 1)
        state = self._recommender.prefill(input_ids, attention_mask, capacity=capacity)
        masked = Excluded.of(trie, excluded) if excluded is not None else None
        finished, answer = Finished.none(users, self._beams, device), Hits.none(users, self._results, device)
        live = Live.at_root(state, users, device)
        while live.depth < trie.depth and live.nodes.numel():
            if self._mode == "vocabulary" and live.depth and (wanted := self._chains(live)) is not None:
                finished.add(*self._finish_chains(live, wanted))
                break
            self._advance(live, finished, masked)
            self._compact(live, finished, answer)
        finished.write(answer)
        return answer

    def _advance(self, live: Live, finished: Finished, masked: Excluded | None) -> None:
        """Write one more token to all live beams.

        Of the best 2 x beams candidates, the complete ones among the first `beams` are finished, and the first `beams`
        of the others live on: the rule of Hugging Face, which keeps enough live beams whatever finishes.
        """
        trie, nodes = self._trie, live.nodes
        start = torch.full_like(nodes, self._recommender.start_token)
        tokens = trie.vocabulary[trie.columns[nodes].long()] if live.depth else start
        hidden = self._recommender.step(live.state, tokens[:, :, None], live.parents)[:, :, 0]
        children = Children.of(trie, nodes, live.scores)
        # Rounding can lift the logarithm of a probability near 1 above zero; the bounds rely on scores that never rise.
        gained = self._log_probabilities(hidden.flatten(0, 1).float(), children).clamp(max=0.0)
        total = live.scores[children.user, children.beam] + gained
        if masked is not None:
            total = masked.apply(total, finished.users[children.user], children.node, live.depth + 1)
        score, node, parent = children.best(trie, total, users=len(nodes), count=2 * self._beams)
        complete, first = self._complete(node), slice(0, self._beams)
        item = trie.lowest[node].long()
        finished.add(self._normalised(score, item).masked_fill(~complete, NEVER)[:, first], item[:, first])
        alive = score.masked_fill(complete, NEVER)
        kept = alive.argsort(dim=1, descending=True, stable=True)[:, first]
        live.nodes, live.scores, live.parents = node.gather(1, kept), alive.gather(1, kept), parent.gather(1, kept)
        live.depth += 1

    def _complete(self, nodes: Tensor) -> Tensor:
        """Whether an ID is certain at a node: its end token was written or, in `trie` mode, nothing else is left."""
        if self._mode == "trie":
            return self._trie.below[nodes] == 1
        return self._trie.columns[nodes] == self._trie.end_column

    def _normalised(self, scores: Tensor, items: Tensor) -> Tensor:
        return scores / self._trie.lengths[items].float() ** self._penalty if self._penalty else scores

    def _log_probabilities(self, hidden: Tensor, children: Children) -> Tensor:
        """Log-probability [n] of each child; `hidden` [users * beams, d] float32."""
        owner = children.owner
        logits = self._child_logits(hidden, owner, self._trie.columns[children.node].long())
        if self._mode == "vocabulary":
            asked, which = owner.unique_consecutive(return_inverse=True)
            return logits - self._recommender.normaliser(hidden[asked])[which]
        top = torch.full((len(hidden),), NEVER, device=hidden.device).scatter_reduce(0, owner, logits, "amax")
        shifted = logits - top[owner]
        total = torch.zeros(len(hidden), device=hidden.device).index_add(0, owner, shifted.exp())
        return shifted - total.log()[owner]

    def _child_logits(self, hidden: Tensor, owner: Tensor, column: Tensor) -> Tensor:
        """hidden[owner[i]] . rows[column[i]]: by gathering where children are few, else by one product with all rows.

        A gathered product moves two rows of memory a child and costs some 50 times a multiply-add of a matrix product.
        """
        if len(owner) * 50 < len(hidden) * len(self._rows):
            return (hidden[owner] * self._rows[column]).sum(1)
        with torch.autocast(hidden.device.type, enabled=False):  # scores are float32, whatever the model computes in
            return (hidden @ self._rows.T)[owner, column]

    def _chains(self, live: Live) -> Tensor | None:
        """Where every live beam has one ID left: which steps each beam still needs, [users, beams, steps] bool.

        None where a beam branches, or where chains differ so much in length that one forward over the longest would
        compute more padding than it saves steps.
        """
        alive = live.scores > NEVER
        if not bool(((self._trie.below[live.nodes] == 1) | ~alive).all()):
            return None
        left = torch.where(alive, self._trie.lengths[self._trie.lowest[live.nodes]] - live.depth, 0)
        wanted = torch.arange(int(left.max()), device=left.device) < left[:, :, None]
        return wanted if int(wanted.sum()) >= _CHAIN_SHARE * wanted.numel() else None

    def _finish_chains(self, live: Live, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Score the rest of each live beam's only ID in one forward: (normalised scores, items), both [users, beams].

        No beam branches any more, so all of them finish, and the step by step search would end with the same scores.
        """
        items = self._trie.lowest[live.nodes].long()
        column = self._trie.ids[items][:, :, live.depth - 1 : live.depth + wanted.shape[2]].long()
        tokens = self._trie.vocabulary[column[:, :, :-1]]
        hidden = self._recommender.step(live.state, tokens, live.parents)[wanted].float()
        gained = torch.zeros(wanted.shape, device=wanted.device)
        targets = self._rows[column[:, :, 1:][wanted]]
        gained[wanted] = ((hidden * targets).sum(1) - self._recommender.normaliser(hidden)).clamp(max=0.0)
        return self._normalised(live.scores + gained.sum(2), items), items

    def _compact(self, live: Live, finished: Finished, answer: Hits) -> None:
        """Drop beams that cannot reach the results any more, and users without beams, whose answer is written."""
        needed = finished.scores[:, self._results - 1 : self._results]
        live.scores = torch.where(self._bound(live) < needed, NEVER, live.scores)
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
            live.state = self._recommender.select(live.state, stay)
        live.nodes, live.scores, live.parents = parts

    def _bound(self, live: Live) -> Tensor:
        """The best normalised score that each beam can still end with: scores never rise."""
        if not self._penalty:
            return live.scores
        # A positive penalty favours long IDs; with a negative one every further token makes it worse.
        length = self._trie.depth if self._penalty > 0 else live.depth
        return live.scores / float(length) ** self._penalty


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
