"""Histories in, recommendations out: what evaluation, serving and bulk scoring call.

engine = Engine.load(Path("artifacts/demo/train/pair"))       # or a bundle
engine.recommend([["B001", "B007"]], k=10, beams=20, scores="trie", mask_seen=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.errors import BadInput
from components.networks.device import pick_device
from components.progress import Progress
from components.recommender.batches.batch import MAX_TOKENS, pad_prompts
from components.recommender.models.families import family_of, recommender_of
from components.recommender.models.interface import Recommender
from components.recommender.pair import ALIASES, parts, read_aliases, refuse_other_ids
from components.recommender.prompts.phrasings import Pieces, Prompt
from components.recommender.prompts.user_ids import UserIds
from components.recommender.search.rule import Scores
from components.recommender.search.search import BeamSearch, check_vocabulary
from components.recommender.trie.trie import Trie
from components.settings.bounds import MOST_BEAMS
from components.storage.manifest import verify_manifest
from components.textid.table.id_table import IdTable

_SEARCHES = 4
"""Searches of the last settings that an engine keeps."""

_ATTENTION_CELLS = 400_000
"""Users x beams x beams at a time: the self-attention of all beams of a user over all their tokens stays below
160 MB at 8 heads and 10 tokens. It binds from 80 beams on, with 64 users a batch."""


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    item_id: str
    words: str
    """Its textual ID: what the model wrote."""
    score: float
    """Sum of the log-probabilities of its tokens / length ** length_penalty; higher is better, never above 0."""


class Engine:
    """A recommender with its prompts and ID table, ready to answer.

    Between calls it keeps the searches of the last settings, each with output rows of the model: the weights must not
    change under it.
    """

    def __init__(
        self,
        recommender: Recommender,
        pieces: Pieces,
        table: IdTable,
        *,
        max_history: int,
        device: torch.device,
        users: UserIds | None = None,
        fixed: bool | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._recommender, self._pieces, self._table = recommender, pieces, table
        self._max_history, self._device, self._users, self._fixed = max_history, device, users, fixed
        own = {item_id: row for row, item_id in enumerate(table.item_ids)}
        merged = {gone: own[kept] for gone, kept in (aliases or {}).items() if kept in own}
        self._row_of = merged | own
        # Rows of the table are sorted by item id, so that ties by item number are ties by item id.
        self._trie = Trie.build(table.token_ids, end_token=recommender.end_token).to(device)
        check_vocabulary(recommender, self._trie)
        self._searches: dict[tuple[int, int, Scores, float], BeamSearch] = {}

    @classmethod
    def load(
        cls, directory: Path, *, device: str = "auto", id_table: Path | None = None, fixed: bool | None = None
    ) -> Engine:
        """From a pair or a bundle, whose manifest is verified; `id_table` replaces its table; `fixed`: see BeamSearch.

        Raises `BadInput` for what does not match its manifest, a device that is not there, or a table that the model
        cannot write, `GateRefused` for a table with other IDs than those that the recommender was trained on.
        """
        verify_manifest(directory)
        place = pick_device(device)
        loaded = parts(directory)
        model, tokenizer, facts = loaded["recommender"].to(place).eval(), loaded["tokenizer"], loaded["facts"]
        table = loaded["table"]
        if id_table is not None:
            table = IdTable.load(id_table)
            refuse_other_ids(loaded["table"], table, where=str(id_table))
        return cls(
            recommender_of(family_of(facts, where=str(directory)), model, end_token=tokenizer.eos_token_id),
            loaded["prompts"].tokenise(tokenizer),
            table,
            max_history=facts["max_history"],
            device=place,
            users=UserIds(table, tokenizer) if facts.get("user_id") else None,
            fixed=fixed,
            aliases=read_aliases(directory / ALIASES),
        )

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        *,
        k: int,
        beams: int,
        scores: Scores,
        mask_seen: bool,
        length_penalty: float = 0.0,
        batch_users: int = 64,
        drop_repeats: bool = True,
        progress: Progress | None = None,
    ) -> list[list[Recommendation]]:
        """The best `k` items for each history of item ids (oldest first), best first.

        Histories are read as `canonical` says. Items that have no ID are skipped; a history without any left is
        answered from the prompt without items, so a new visitor gets what the model finds likely for anyone. With
        `mask_seen`, items of the history never come out. Where fewer than `k` legal items exist, there are fewer
        results. At least `k` beams are used. Answers do not depend on the other histories of the call. Raises
        `BadInput` for settings out of bounds.
        """
        search = self._search(_checked(k=k, beams=beams, batch_users=batch_users), k, scores, length_penalty)
        canonical = [self.canonical(history, drop_repeats=drop_repeats) for history in histories]
        known = [[self._row_of[item] for item in history if item in self._row_of] for history in canonical]
        prompts = [self._prompt(rows) for rows in known]
        # Prompts of like length together: padding is work.
        order = sorted(range(len(prompts)), key=lambda user: len(prompts[user].token_ids))
        at_once = max(1, min(batch_users, _ATTENTION_CELLS // max(k, beams) ** 2))
        answers: list[list[Recommendation]] = [[] for _ in prompts]
        starts = range(0, len(order), at_once)
        for start in (progress or Progress()).track(starts, "recommend"):
            users = order[start : start + at_once]
            input_ids, mask = pad_prompts([prompts[user] for user in users])
            excluded = [known[user] for user in users] if mask_seen else None
            hits = search(*(part.to(self._device, non_blocking=True) for part in (input_ids, mask)), excluded=excluded)
            for user, items, values in zip(users, hits.items.tolist(), hits.scores.tolist(), strict=True):
                answers[user] = [self._say(item, value) for item, value in zip(items, values, strict=True) if item >= 0]
        return answers

    def canonical(self, history: Sequence[str], *, drop_repeats: bool) -> list[str]:
        """A history as training had it: the id that stays in place of one that `clean` merged away, then no repeats.

        drop_repeats: keep the first of an item that is there again, under whatever id (`clean.drop_repeats`).
        """
        ids, row_of = self._table.item_ids, self._row_of
        items = [ids[row_of[item]] if item in row_of else item for item in history]
        return list(dict.fromkeys(items)) if drop_repeats else items

    def knows(self, item_id: str) -> bool:
        """Whether the item has an ID: others are skipped in a history."""
        return item_id in self._row_of

    def _search(self, beams: int, k: int, scores: Scores, length_penalty: float) -> BeamSearch:
        """The search of these settings, which rarely change between calls; threads may ask at the same time."""
        settings = (beams, k, scores, length_penalty)
        search = self._searches.pop(settings, None) or BeamSearch(
            self._recommender,
            self._trie,
            beams=beams,
            results=k,
            scores=scores,
            length_penalty=length_penalty,
            fixed=self._fixed,
        )
        # A dict of the engine's own, not an lru_cache of a method: that is a cycle, and engines that are done with
        # would stay until the next full garbage collection, with their tries and output rows.
        self._searches[settings] = search
        for old in list(self._searches)[:-_SEARCHES]:
            self._searches.pop(old, None)
        return search

    def _prompt(self, rows: Sequence[int]) -> Prompt:
        items = [self._table.token_ids[row] for row in rows[-self._max_history :]]
        user = self._users.of(rows) if self._users else ()
        return self._pieces.build(0, items, max_tokens=MAX_TOKENS, user=user)

    def _say(self, item: int, score: float) -> Recommendation:
        return Recommendation(self._table.item_ids[item], self._table.words[item], score)


def _checked(**settings: Any) -> int:
    """Refuse settings out of bounds; return the beams to use: never fewer than the results asked for."""
    for name, value in settings.items():
        high = MOST_BEAMS if name in ("k", "beams") else None
        if value < 1 or (high is not None and value > high):
            bounds = f"1 to {high}" if high else "1 or more"
            raise BadInput(f"{name} is {value}", where="recommend", mend=f"give {bounds}")
    return max(settings["k"], settings["beams"])
