"""Beam search over a trie of IDs: the best items for a batch of users.

    search = BeamSearch(recommender, trie, beams=20, scores="trie")
    hits = search(input_ids, attention_mask, excluded=[[3, 8], []])
    hits.items, hits.scores                                # [users, results], best first; item -1: no more legal items

Two score modes. `vocabulary`: log-softmax over the whole vocabulary; the search is that of Hugging Face `generate` with
`prefix_allowed_tokens_fn`, `num_beams=beams` and `early_stopping="never"`. `trie`: log-softmax over the legal next
tokens alone; a token without alternative costs nothing, so an ID is complete as soon as it is the only one left.

Two ways to compute the same, `ragged.py` for a CPU and `fixed.py` for a GPU. On a CPU users of like prompt length are
decoded together, one such group on each thread: the products of a step are too small for two threads to share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from components.errors import BadInput
from components.networks.cpu.threads import on_threads
from components.networks.reading import WIDTH
from components.networks.rounding import round_up
from components.recommender.models.interface import Recommender
from components.recommender.search.beams import Hits
from components.recommender.search.excluded import Excluded
from components.recommender.search.fixed import FixedSearch
from components.recommender.search.ragged import RaggedSearch
from components.recommender.search.rule import Rule, Scores
from components.recommender.trie.trie import Trie

_GROUP = 4096
"""Users decoded together on a CPU x width of the model: 32 of d = 128 (never fewer than 8). Small models need many rows
to fill a matrix product and to pay for a step's hundreds of calls; large ones have enough with few users, and then
little of the prompts is padding. At d = 128, 32 are 1.15 times as fast as 16, and 64 no faster than 32."""


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
        fixed: bool | None = None,
    ) -> None:
        """`results`: items returned per user, at most `beams` (default: all beams). `fixed`: shapes that do not depend
        on the data (default: on a GPU).

        Raises `BadInput` for settings out of bounds and for an ID token that the model does not have.
        """
        results = beams if results is None else results
        where, mend = "decoding", "see components/recommender/search/search.py"
        if not 1 <= results <= beams:
            raise BadInput(f"{results} results of {beams} beams", where=where, mend="ask for 1 to as many as beams")
        if scores not in ("vocabulary", "trie"):
            raise BadInput(f"unknown score mode {scores!r}", where=where, mend=mend)
        check_vocabulary(recommender, trie)
        self._rule = Rule(recommender, trie, beams, results, scores, length_penalty)
        self._fixed = trie.children.is_cuda if fixed is None else fixed
        self._search: Callable[[Tensor, Tensor, Excluded | None], Hits]
        self._search = FixedSearch(self._rule) if self._fixed else RaggedSearch(self._rule)
        self._group = max(8, _GROUP // recommender.output_rows(trie.vocabulary[:1]).shape[1])

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, *, excluded: Sequence[Sequence[int]] | None = None
    ) -> Hits:
        """Prompts [users, S] -> the best items of each user. `excluded`: item numbers that each user must not get.

        Prompts are padded on the right. Excluded items neither come out nor take a beam from another item, and change
        no other item's score.
        """
        answer = Hits.none(len(input_ids), self._rule.results, input_ids.device)

        def decode(group: tuple[Tensor, int]) -> None:
            users, width = group
            masked = None
            if excluded is not None:
                masked = Excluded.of(self._rule.trie, [excluded[user] for user in users.tolist()])
            hits = self._search(input_ids[users, :width], attention_mask[users, :width], masked)
            answer.items[users], answer.scores[users] = hits.items, hits.scores

        if self._fixed:
            if not len(input_ids):
                return answer
            masked = None if excluded is None else Excluded.of(self._rule.trie, excluded)
            return self._search(input_ids, attention_mask, masked)
        parts = groups(attention_mask, self._group)
        if len(parts) == 1:  # a single request gets all threads: one alone would keep its user waiting
            decode(parts[0])
        else:
            list(on_threads(decode, parts))
        return answer


def check_vocabulary(recommender: Recommender, trie: Trie) -> None:
    """Raises `BadInput` if an ID uses a token that the model does not have: its table is of another tokenizer."""
    if int(trie.vocabulary[-1]) >= recommender.vocabulary_size:
        raise BadInput(
            f"the ID table uses token {int(trie.vocabulary[-1])}, the model has {recommender.vocabulary_size}",
            where="ID table and recommender",
            mend="use the table that was written with this model's tokenizer",
        )


def groups(attention_mask: Tensor, size: int) -> list[tuple[Tensor, int]]:
    """Users in groups of at most `size`, of like prompt length, longest first: (users [n], width of their prompts).

    As few as can be and of even size, so that no thread gets what was left over.
    """
    widest = attention_mask.shape[1]
    lengths = attention_mask.sum(1)
    count = -(-len(lengths) // size)
    alike = lengths.argsort(stable=True).tensor_split(count)[::-1] if count else ()
    longest = [int(lengths[users].max()) for users in alike]
    return [(users, min(widest, round_up(length, WIDTH))) for users, length in zip(alike, longest, strict=True)]
