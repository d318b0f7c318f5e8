"""The generative recommender: it writes the textual ID of the next item, by beam search over the trie of all IDs.

engine = Engine.load(Path("artifacts/demo/train/pair"))       # or a bundle
engine.recommend([["B001", "B007"]], 10, Decoding(beams=20))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.errors import BadInput
from components.networks.device import pick_device
from components.networks.families import language_model
from components.networks.interface import LanguageModel
from components.networks.lengths import batches_of_like_length
from components.networks.views import views_of
from components.progress import Progress
from components.recommender import soft_prompt
from components.recommender.batches.batch import MAX_TOKENS, Ends, pad_prompts
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Times, check_k, named
from components.recommender.item_views import load as load_views
from components.recommender.item_views import placed
from components.recommender.pair import drops_repeats, parts, refuse_other_ids
from components.recommender.prompts import neighbours
from components.recommender.prompts.phrasings import Pieces, Prompt
from components.recommender.prompts.user_ids import UserIds
from components.recommender.search.forced import ForcedScoring
from components.recommender.search.search import BeamSearch, Way, check_vocabulary
from components.settings.decoding import Decoding, Scores
from components.storage.manifest import verify_manifest
from components.storage.ragged import Ragged

_SEARCHES = 4
"""Searches of the last settings that an engine keeps."""

_ATTENTION_CELLS = 400_000
"""Users x beams x beams at a time: the self-attention of all beams of a user over all their tokens stays below
160 MB at 8 heads and 10 tokens. It binds from 80 beams on, with 64 users a batch."""


class Engine:
    """A network with its prompts and a catalogue: the `interface.Recommender` that a training makes.

    Between calls it keeps the searches of the last settings, each with output rows of the model: the weights must not
    change under it.
    """

    def __init__(
        self,
        model: LanguageModel,
        pieces: Pieces,
        catalogue: Catalogue,
        *,
        max_history: int,
        device: torch.device,
        users: UserIds | None = None,
        neighbours: Ragged | None = None,
        way: Way | None = None,
    ) -> None:
        """`max_history`: most items of a prompt. `users`: writes the user ID in front of it, if there is one.
        `neighbours`: [items] what is read behind each item, if anything is. `way`: see `BeamSearch`."""
        self.catalogue = catalogue
        self._model, self._pieces, self._table = model, pieces, catalogue.table
        self._max_history, self._device, self._users, self._way = max_history, device, users, way
        self._neighbours = neighbours
        self._trie = catalogue.trie(model.end_token).to(device)
        check_vocabulary(model, self._trie)
        self._searches: dict[tuple[int, int, Scores, float], BeamSearch] = {}

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "auto",
        catalogue: Catalogue | None = None,
        way: Way | None = None,
        lean: bool = False,
    ) -> Engine:
        """From a pair or a bundle, whose manifest is verified; `catalogue` replaces its own; `way`: see BeamSearch;
        `lean`: for a process that asks once and would import more than it computes (`networks/lean.py`).

        Raises `BadInput` for what does not match its manifest, a device that is not there, or an ID table that the
        model cannot write, `GateRefused` for one with other IDs than those that the recommender was trained on.
        """
        verify_manifest(directory)
        place = pick_device(device)
        loaded = parts(directory, lean=lean)
        model, tokenizer, facts = loaded["recommender"], loaded["tokenizer"], loaded["facts"]
        own = Catalogue.load(directory, drop_repeats=drops_repeats(directory, facts))
        if catalogue is not None:
            refuse_other_ids(own.table, catalogue.table, where=f"the catalogue beside {directory}")
        catalogue = catalogue or own
        load_views(model, directory, catalogue.table.item_ids)
        soft_prompt.load(model, directory)
        model = model.to(place).eval()
        return cls(
            language_model(model, end_token=tokenizer.eos_token_id),
            loaded["prompts"].tokenise(tokenizer),
            catalogue,
            max_history=facts["max_history"],
            device=place,
            users=UserIds(catalogue.table, tokenizer) if facts.get("user_id") else None,
            neighbours=neighbours.load(directory, catalogue.table.item_ids),
            way=way,
        )

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        decoding: Decoding,
        progress: Progress | None = None,
        times: Times = None,
    ) -> list[list[Recommendation]]:
        """`interface.Recommender.recommend`, without regard to times. At least `k` beams are used. A history without a
        known item is answered from the prompt without items, so a new visitor gets what the model finds likely for
        anyone."""
        check_k(k)
        if decoding.mode not in (None, "generate"):
            mend = "ask a bundle with a ranker (the stage `rank`), or the mode generate"
            raise BadInput(f"the mode is {decoding.mode}, and there is a language model alone", where="mode", mend=mend)
        beams, masked = max(k, decoding.beams), self.catalogue.masks(decoding)
        search = self._search(beams, k, decoding.scores, decoding.length_penalty)
        known = [self.catalogue.rows(history) for history in histories]
        prompts = [self._prompt(rows) for rows in known]
        at_once = max(1, min(decoding.batch_users, _ATTENTION_CELLS // beams**2))
        batches = batches_of_like_length([len(prompt.token_ids) for prompt in prompts], at_once)
        answers: list[list[Recommendation]] = [[] for _ in prompts]
        for users in (progress or Progress()).track(batches, "recommend"):
            input_ids, mask = pad_prompts([prompts[user] for user in users])
            excluded = [known[user] for user in users] if masked else None
            read = self._read(input_ids, [prompts[user] for user in users], [known[user] for user in users])
            hits = search(read, mask.to(self._device, non_blocking=True), excluded=excluded)
            for user, items, scores in zip(users, hits.items.tolist(), hits.scores.tolist(), strict=True):
                answers[user] = named(self.catalogue, items, scores)
        return answers

    def scores(
        self,
        histories: Sequence[Sequence[str]],
        candidates: Ragged,
        decoding: Decoding,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Score of each candidate, whatever beams would find: [n] as `recommend` would score it.

        candidates: for each history item numbers of the catalogue, values [n].
        """
        most = int(candidates.lengths.max(initial=1))
        scoring = ForcedScoring(
            self._model, self._trie, candidates=most, scores=decoding.scores, length_penalty=decoding.length_penalty
        )
        known = [self.catalogue.rows(history) for history in histories]
        prompts = [self._prompt(rows) for rows in known]
        at_once = max(1, min(decoding.batch_users, _ATTENTION_CELLS // most**2))
        found = np.zeros(len(candidates.values), np.float32)
        batches = batches_of_like_length([len(prompt.token_ids) for prompt in prompts], at_once)
        for users in (progress or Progress()).track(batches, "score candidates"):
            input_ids, mask = pad_prompts([prompts[user] for user in users])
            asked = Ragged.of([candidates.row(user).tolist() for user in users])
            read = self._read(input_ids, [prompts[user] for user in users], [known[user] for user in users])
            scores = scoring(read, mask.to(self._device), asked).cpu().numpy()
            for place, user in enumerate(users):
                own = slice(candidates.offsets[user], candidates.offsets[user + 1])
                found[own] = scores[asked.offsets[place] : asked.offsets[place + 1]]
        return found

    def _search(self, beams: int, k: int, scores: Scores, length_penalty: float) -> BeamSearch:
        """The search of these settings, which rarely change between calls; threads may ask at the same time."""
        settings = (beams, k, scores, length_penalty)
        search = self._searches.pop(settings, None) or BeamSearch(
            self._model,
            self._trie,
            beams=beams,
            results=k,
            scores=scores,
            length_penalty=length_penalty,
            way=self._way,
        )
        # A dict of the engine's own, not an lru_cache of a method: that is a cycle, and engines that are done with
        # would stay until the next full garbage collection, with their tries and output rows.
        self._searches[settings] = search
        for old in list(self._searches)[:-_SEARCHES]:
            self._searches.pop(old, None)
        return search

    @torch.no_grad()
    def _read(self, input_ids: Tensor, prompts: Sequence[Prompt], items: Sequence[Sequence[int]]) -> Tensor:
        """What the model reads of a batch of prompts: token ids, or embeddings with the views of the items or a soft
        prompt."""
        ids, ends = input_ids.to(self._device, non_blocking=True), None
        if views_of(self._model.module) is not None:
            ends = Ends.of_prompts(prompts, items, closed=self._pieces.closed).to(self._device)
        embeddings = placed(self._model, ids, ends)
        return ids if embeddings is None else embeddings

    def _prompt(self, rows: Sequence[int]) -> Prompt:
        read = rows[-self._max_history :]
        items = [self._table.token_ids[row] for row in read]
        user = self._users.of(rows) if self._users else ()
        behind = neighbours.rows_of(self._neighbours, read)
        return self._pieces.build(0, items, max_tokens=MAX_TOKENS, user=user, behind=behind)
