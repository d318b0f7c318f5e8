"""Ask the ID generator for candidates: items in batches of few shapes, words back.

Batches are made from the set of items, not from their order, so the same items give the same candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.params import Index
from components.progress import Progress
from components.textid.candidates import Candidate, allowed_tokens, readable
from components.textid.diverse import propose
from components.textid.register import Register
from components.textid.share import ALONE, Share
from components.textid.tokenizer import encode_texts, end_id, pad_id
from components.textid.words import split

# Item texts are padded to a multiple of this: few shapes, and less than 16 tokens of padding.
_BUCKET = 16


@dataclass
class Generator:
    """The model with all that asking it takes."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: Index
    max_item_tokens: int
    known_words: frozenset[str]
    progress: Progress
    device: torch.device | str | None
    share: Share = ALONE

    def __post_init__(self) -> None:
        if self.device is not None:
            self.model.to(torch.device(self.device))  # type: ignore[arg-type]
        self.allowed = allowed_tokens(self.tokenizer)
        self.first_choices: dict[str, str] = {}

    def ask(
        self, items: list[tuple[str, str]], register: Register, penalty: float, max_tokens: int, task: str
    ) -> list[list[Candidate]]:
        """Readable candidates of each item, best first; the same on all processes that share the work."""
        encoded = encode_texts(self.tokenizer, [text for _, text in items], max_tokens=self.max_item_tokens)
        own = [set(split(text)) for _, text in items]
        found: list[list[Candidate]] = [[] for _ in items]
        training = self.model.training
        self.model.eval()
        try:
            batches = _batches(encoded, self.settings.batch_items)
            done: list[tuple[list[int], list[list[Candidate]]]] = []
            turns = self.progress.track(self.share.turns(batches), task, total=self.share.most(batches))
            for rows in turns:
                if rows is None:
                    continue
                tokens, scores = self._propose([encoded[row] for row in rows], penalty, max_tokens)
                options = readable(
                    tokens, scores, [own[row] for row in rows], self.known_words, self.tokenizer, register
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

    def _propose(
        self, rows: list[list[int]], penalty: float, max_tokens: int
    ) -> tuple[list[list[list[int]]], list[list[float]]]:
        pad = pad_id(self.tokenizer)
        width = _bucket(rows[-1])
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        tokens, scores = propose(
            self.model,
            ids.to(self.model.device),
            (torch.arange(width) < lengths[:, None]).long().to(self.model.device),
            candidates=self.settings.candidates,
            groups=self.settings.groups,
            diversity_penalty=penalty,
            max_tokens=max_tokens,
            eos_id=end_id(self.tokenizer),
            pad_id=pad,
            allowed=self.allowed,
        )
        return tokens.tolist(), scores.tolist()


def _bucket(row: list[int]) -> int:
    return ceil(len(row) / _BUCKET) * _BUCKET


def _batches(encoded: list[list[int]], size: int) -> list[list[int]]:
    """Rows of `encoded` in batches of one padded length each, in the order of the items."""
    by_length: dict[int, list[int]] = {}
    for row, tokens in enumerate(encoded):
        by_length.setdefault(_bucket(tokens), []).append(row)
    return [rows[start : start + size] for _, rows in sorted(by_length.items()) for start in range(0, len(rows), size)]
