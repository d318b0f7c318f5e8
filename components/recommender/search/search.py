"""Beam search over a trie of IDs: the best items for a batch of users.

    search = BeamSearch(model, trie, beams=20, scores="trie")
    hits = search(input_ids, attention_mask, excluded=[[3, 8], []])
    hits.items, hits.scores                                # [users, results], best first; item -1: no more legal items

Two score modes. `vocabulary`: log-softmax over the whole vocabulary; the search is that of Hugging Face `generate` with
`prefix_allowed_tokens_fn`, `num_beams=beams` and `early_stopping="never"`. `trie`: log-softmax over the legal next
tokens alone; a token without alternative costs nothing, so an ID is complete as soon as it is the only one left.

Two ways to compute the same, `cpu.py` and `gpu.py`. On a CPU users of like prompt length are decoded together, one such
group on each thread: the products of a step are too small for two threads to share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from components.errors import BadInput
from components.networks.cpu import on_threads
from components.networks.interface import LanguageModel
from components.networks.lengths import even_groups
from components.recommender.search.beams import Hits
from components.recommender.search.cpu import CpuSearch
from components.recommender.search.excluded import Excluded
from components.recommender.search.gpu import GpuSearch
from components.recommender.search.trie_search import TrieSearch
from components.recommender.trie.trie import Trie
from components.settings.decoding import Scores

Way = Literal["cpu", "gpu"]

_GROUP = 4096
"""Users decoded together on a CPU x width of the model: 32 of d = 128 (never fewer than 8). Small models need many rows
to fill a matrix product and to pay for a step's hundreds of calls; large ones have enough with few users, and then
little of the prompts is padding."""


class BeamSearch:
    """One search, bound to a model, a trie and its settings; call it with one batch of prompts after the other."""

    def __init__(
        self,
        model: LanguageModel,
        trie: Trie,
        *,
        beams: int,
        results: int | None = None,
        scores: Scores = "vocabulary",
        length_penalty: float = 0.0,
        way: Way | None = None,
    ) -> None:
        """results: items returned per user, at most `beams` (default: all). way: default by the device of the trie.

        Raises `BadInput` for settings out of bounds and for an ID token that the model does not have.
        """
        results = beams if results is None else results
        where, mend = "decoding", "see components/recommender/search/search.py"
        if not 1 <= results <= beams:
            raise BadInput(f"{results} results of {beams} beams", where=where, mend="ask for 1 to as many as beams")
        if scores not in ("vocabulary", "trie"):
            raise BadInput(f"unknown score mode {scores!r}", where=where, mend=mend)
        check_vocabulary(model, trie)
        self._for_gpu = trie.children.is_cuda if way is None else way == "gpu"
        settings: dict[str, Any] = {"beams": beams, "results": results, "scores": scores}
        kind: type[TrieSearch] = GpuSearch if self._for_gpu else CpuSearch
        self._search = kind(model, trie, **settings, length_penalty=length_penalty)
        self._group = max(8, _GROUP // model.output_rows(trie.vocabulary[:1]).shape[1])

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, *, excluded: Sequence[Sequence[int]] | None = None
    ) -> Hits:
        """Prompts [users, S] -> the best items of each user. `excluded`: item numbers that each user must not get.

        Prompts are padded on the right. Excluded items neither come out nor take a beam from another item, and change
        no other item's score.
        """
        answer = Hits.none(len(input_ids), self._search.results, input_ids.device)

        def decode(group: tuple[Tensor, int]) -> None:
            users, width = group
            masked = None
            if excluded is not None:
                masked = Excluded.of(self._search.trie, [excluded[user] for user in users.tolist()])
            hits = self._search(input_ids[users, :width], attention_mask[users, :width], masked)
            answer.items[users], answer.scores[users] = hits.items, hits.scores

        if self._for_gpu:
            if not len(input_ids):
                return answer
            masked = None if excluded is None else Excluded.of(self._search.trie, excluded)
            return self._search(input_ids, attention_mask, masked)
        parts = even_groups(attention_mask, self._group)
        if len(parts) == 1:  # a single request gets all threads: one alone would keep its user waiting
            decode(parts[0])
        else:
            list(on_threads(decode, parts))
        return answer


def check_vocabulary(model: LanguageModel, trie: Trie) -> None:
    """Raises `BadInput` if an ID uses a token that the model does not have: its table is of another tokenizer."""
    if int(trie.vocabulary[-1]) >= model.vocabulary_size:
        raise BadInput(
            f"the ID table uses token {int(trie.vocabulary[-1])}, the model has {model.vocabulary_size}",
            where="ID table and recommender",
            mend="use the table that was written with this model's tokenizer",
        )
