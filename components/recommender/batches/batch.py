"""The tensors of a training batch, and padding of prompts into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.networks.rounding import round_up
from components.recommender.batches.epochs import MULTIPLE
from components.recommender.batches.soft_targets import Soft
from components.recommender.prompts.phrasings import Prompt
from components.recommender.trie.choices import Choices
from components.storage.ragged import Ragged

IGNORED = -100
"""Padding of labels: no loss there."""
PAD = 0
"""Padding of prompts; the attention mask hides it, so any token would do."""
MAX_TOKENS = 512
"""Longest prompt (tokens): what T5 was trained with."""


@dataclass(frozen=True)
class Ends:
    """Where the items of a batch of prompts end: the last token of each ID, or the separator that closes it."""

    rows: Tensor
    """[n] int64: row of the batch."""
    columns: Tensor
    """[n] int64: position in the row."""
    items: Tensor
    """[n] int64: item numbers."""

    @classmethod
    def of(cls, rows: NDArray[np.int64], columns: NDArray[np.int64], items: NDArray[np.integer]) -> Ends:
        return cls(*(torch.from_numpy(np.ascontiguousarray(each, np.int64)) for each in (rows, columns, items)))

    @classmethod
    def of_prompts(cls, prompts: Sequence[Prompt], items: Sequence[Sequence[int]], *, closed: bool) -> Ends:
        """`items`: item numbers of each history, of which a prompt kept the last ones. closed: `Pieces.closed`."""
        found = [
            (row, end - (not closed), item)
            for row, (prompt, own) in enumerate(zip(prompts, items, strict=True))
            for (_, end), item in zip(prompt.spans, own[len(own) - len(prompt.spans) :], strict=True)
        ]
        return cls(*torch.tensor(found, dtype=torch.int64).reshape(-1, 3).T)

    def to(self, device: torch.device | str) -> Ends:
        return Ends(*(each.to(device, non_blocking=True) for each in (self.rows, self.columns, self.items)))


@dataclass(frozen=True)
class Batch:
    """Prompts and what is to be written after each."""

    input_ids: Tensor
    """[rows, S] int64."""
    attention_mask: Tensor
    """[rows, S] int64, 1 at tokens."""
    labels: Tensor
    """[rows, T] int64: the target's ID and the end token, written after the whole prompt; IGNORED at padding."""
    target_tokens: int
    """Labels that count, known without asking the device; with `choices`, their number."""
    inline: bool = False
    """The prompts are whole histories (`windows.Windows`) and hold their targets: labels [rows, S] are then what is
    written after each of their tokens, IGNORED where nothing is taught. For decoder-only models alone."""
    choices: Choices | None = None
    """Where the loss is taken over the trie: which labels choose, and among what."""
    soft: Soft | None = None
    """Where a teacher has a part in the labels (soft_targets.py)."""
    ends: Ends | None = None
    """Where items end in the prompts, for models that read views of them."""

    def to(self, device: torch.device | str) -> Batch:
        prompt, mask, labels = (
            part.to(device, non_blocking=True) for part in (self.input_ids, self.attention_mask, self.labels)
        )
        choices = self.choices.to(device) if self.choices else None
        soft = self.soft.to(device) if self.soft else None
        ends = self.ends.to(device) if self.ends else None
        return Batch(prompt, mask, labels, self.target_tokens, self.inline, choices, soft, ends)

    def over(self, choices: Choices | None) -> Batch:
        """The same with a loss over the trie, if there are `choices`."""
        return replace(self, choices=choices, target_tokens=choices.count) if choices else self


def pad_prompts(prompts: Sequence[Prompt], *, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Prompts -> (input_ids, attention_mask), both [n, S] int64; S = `length` or the longest, rounded up."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    width = length or round_up(longest, MULTIPLE)
    packed = Ragged.of([prompt.token_ids for prompt in prompts])
    input_ids = np.full((len(prompts), width), PAD, dtype=np.int64)
    mask = np.zeros((len(prompts), width), dtype=np.int64)
    row, column, token = packed.gather(np.arange(len(packed)))
    input_ids[row, column] = token
    mask[row, column] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(mask)


def batch_of(prompts: Sequence[Prompt], targets: Sequence[Sequence[int]], *, end_token: int) -> Batch:
    """A batch from prompts that were built one by one, and the ID of each target without its end token."""
    input_ids, mask = pad_prompts(prompts)
    labels = labels_of(targets, end_token)
    return Batch(input_ids, mask, torch.from_numpy(labels), int((labels != IGNORED).sum()))


def labels_of(ids: Sequence[Sequence[int]], end_token: int) -> NDArray[np.int64]:
    """Labels [n, longest + 1]: the tokens of each ID, then the end token; padding is IGNORED."""
    labels = np.full((len(ids), max(map(len, ids)) + 1), IGNORED, dtype=np.int64)
    for row, tokens in enumerate(ids):
        labels[row, : len(tokens) + 1] = [*tokens, end_token]
    return labels
