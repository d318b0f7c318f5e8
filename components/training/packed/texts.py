"""Item texts as token ids in a mapped file: what the generator reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.networks.rounding import round_up
from components.storage.ragged import Ints, Ragged, RaggedWriter, Strings
from components.textid.words.tokenizer import encode_texts, pad_id
from components.training.devices.ranks import Ranks, write_once
from components.training.job import Job
from components.training.packed.dataset import TOKENISED

WIDTH = 16
"""Padded item texts are multiples of this (tokens), or as long as the longest: few shapes."""
_TEXTS = 4096
"""Item texts that are tokenised at a time."""


@dataclass(frozen=True)
class ItemTexts:
    """The tokenised texts of a catalogue."""

    tokens: Ragged
    """Row i: tokens of the text of item i, end token included."""
    longest: int
    """Tokens of the longest text."""
    pad: int
    """Padding token."""

    @classmethod
    def tokenise(cls, job: Job, texts: Strings, tokenizer: Any, ranks: Ranks) -> ItemTexts:
        """Cut each text to `train.max_item_tokens`; the first rank writes the file, all ranks map it."""

        def write(folder: Path) -> None:
            with RaggedWriter(folder, "texts", np.int32) as writer:
                for start in range(0, len(texts), _TEXTS):
                    some = texts[start : start + _TEXTS]
                    rows = Ragged.of(encode_texts(tokenizer, some, max_tokens=job.train.max_item_tokens))
                    writer.add(rows.lengths, rows.values)

        tokens = Ragged.load(write_once(job.work / TOKENISED, job.train_key, ranks, write), "texts", np.int32)
        return cls(tokens, int(np.diff(tokens.offsets).max()), pad_id(tokenizer))

    def tensors(self, items: NDArray[np.integer], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of some items' texts, [n, S] each, on the device; S is a multiple of `WIDTH`."""
        lengths = self.tokens.lengths_of(items)
        width = min(round_up(int(lengths.max()), WIDTH), self.longest)
        tokens = np.full((len(items), width), self.pad, dtype=np.int64)
        row, column, token = self.tokens.gather(items)
        tokens[row, column] = token
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        # Without waiting for what the device does before it takes them.
        ids, seen = (torch.from_numpy(part).to(device, non_blocking=True) for part in (tokens, mask))
        return ids, seen

    def by_length(self, items: Ints) -> list[Ints]:
        """Items in one group, or in two of shorter and longer texts where that saves a quarter of the padding or more.

        A group is filled up to a multiple of four by repeating its last item: few shapes.
        """
        widths = -(-self.tokens.lengths_of(items) // WIDTH) * WIDTH
        order = np.argsort(widths, kind="stable")
        items, widths = items[order], widths[order]
        cuts = np.arange(1, len(items))
        cost = np.concatenate(
            [widths[-1:] * len(items) * 3 / 4, widths[cuts - 1] * cuts + widths[-1] * (len(items) - cuts)]
        )
        groups = np.split(items, [int(cost.argmin())] if cost.argmin() else [])
        return [np.pad(group, (0, -len(group) % 4), mode="edge") for group in groups]
