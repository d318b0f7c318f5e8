"""Ask the ID generator for candidates: items in batches of like length, words back.

Batches are made from the set of items, not from their order, so the same items give the same candidates.
"""

from __future__ import annotations

from collections.abc import Generator as Generated
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.networks.cpu import on_threads
from components.networks.families import language_model
from components.networks.lengths import WIDTH, batches_of_like_length
from components.networks.rounding import round_up
from components.networks.views import at_ends
from components.progress import Progress
from components.settings.params import Index
from components.textid.table.taken import TakenIds
from components.textid.words.own import OwnWords
from components.textid.words.tokenizer import encode_texts, end_id, pad_id
from components.textid.writing.candidates import Candidate, allowed_tokens, readable
from components.textid.writing.diverse import propose
from components.textid.writing.instructed import prompts
from components.textid.writing.legal import Lexicon
from components.textid.writing.share import ALONE, Share

Tokens = list[list[list[int]]]
Scores = list[list[float]]
_Written = tuple[list[int], Tokens, Scores]
"""Rows of a batch, and their candidates."""


@dataclass
class Generator:
    """The model with all that asking it takes."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: Index
    max_item_tokens: int
    own: OwnWords
    """Of the whole catalogue."""
    rows: Mapping[str, int]
    """Item id -> its number among the views of the model, where it has some (networks/views.py)."""
    lexicon: Lexicon | None
    """The legal words of the items that are asked for; null: any words may be written."""
    progress: Progress
    device: torch.device | str | None
    share: Share = ALONE

    def __post_init__(self) -> None:
        if self.device is not None:
            self.model.to(torch.device(self.device))  # type: ignore[arg-type]
        self.language_model = language_model(self.model, end_token=end_id(self.tokenizer))
        self.allowed = allowed_tokens(self.tokenizer)
        self.known_words = frozenset(self.own.words)
        self.first_choices: dict[str, str] = {}

    def ask(
        self, items: list[tuple[str, str]], taken_ids: TakenIds, penalty: float, max_tokens: int, task: str
    ) -> list[list[Candidate]]:
        """Readable candidates of each item, best first; the same on all processes that share the work."""
        own, numbers = [self.own.row_of[item] for item, _ in items], [self.rows.get(item, -1) for item, _ in items]
        if self.model.config.is_encoder_decoder:  # it was taught to write IDs
            encoded = encode_texts(self.tokenizer, [text for _, text in items], max_tokens=self.max_item_tokens)
        else:
            said = [" ".join(self.own.words[number] for number in self.own.documents.row(row)) for row in own]
            encoded = prompts(self.tokenizer, said, max_tokens=self.max_item_tokens)
        found: list[list[Candidate]] = [[] for _ in items]
        lengths = [len(row) for row in encoded]
        batches = batches_of_like_length(lengths, self.settings.batch_items, longest_first=True)
        done: list[tuple[list[int], list[list[Candidate]]]] = []
        training = self.model.training
        self.model.eval()
        try:
            with closing(self._each(self.share.turns(batches), encoded, own, numbers, penalty, max_tokens)) as written:
                for batch in self.progress.track(written, task, total=self.share.most(batches)):
                    if batch is None:
                        continue
                    rows, tokens, scores = batch
                    options = readable(
                        tokens,
                        scores,
                        [self.own.of_row(own[row]) for row in rows],
                        self.known_words,
                        self.tokenizer,
                        taken_ids,
                        faithful=self.lexicon is not None,
                    )
                    done.append((rows, options))
        finally:
            self.model.train(training)
        for rows, options in self.share.gather(done):
            for row, candidates in zip(rows, options, strict=True):
                found[row] = candidates
                if candidates:
                    self.first_choices.setdefault(items[row][0], candidates[0][0])
        return found

    def _each(
        self,
        turns: Iterable[list[int] | None],
        encoded: list[list[int]],
        own: list[int],
        numbers: list[int],
        penalty: float,
        max_tokens: int,
    ) -> Generated[_Written | None, None, None]:
        """What the model writes for the batch of each turn: a CPU writes one on each thread.

        Only the model is shared by the threads: a tokenizer does not bear two callers at a time.
        """

        def write(rows: list[int] | None) -> _Written | None:
            if rows is None:
                return None
            texts, words = [encoded[row] for row in rows], [own[row] for row in rows]
            return rows, *self._propose(texts, words, [numbers[row] for row in rows], penalty, max_tokens)

        if self.model.device.type == "cpu":
            yield from on_threads(write, turns)
        else:
            yield from map(write, turns)

    @torch.inference_mode()
    def _propose(
        self, rows: list[list[int]], own: list[int], numbers: list[int], penalty: float, max_tokens: int
    ) -> tuple[Tokens, Scores]:
        """Candidates of items from the tokens of their texts, their rows in `self.own`, and those of their views."""
        pad = pad_id(self.tokenizer)
        width = round_up(max(map(len, rows)), WIDTH)
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        ids = ids.to(self.model.device, non_blocking=True)
        mask = (torch.arange(width) < lengths[:, None]).long().to(self.model.device, non_blocking=True)
        tokens, scores = propose(
            self.language_model,
            ids,
            mask,
            prompt=at_ends(self.language_model, ids, mask, numbers),
            candidates=self.settings.candidates,
            groups=self.settings.groups,
            diversity_penalty=penalty,
            max_tokens=max_tokens,
            pad_id=pad,
            allowed=self.allowed,
            legal=None if self.lexicon is None else self.lexicon.legal(own, max_tokens=max_tokens),
        )
        return tokens.tolist(), scores.tolist()
