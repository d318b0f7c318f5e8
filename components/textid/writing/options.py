"""What the beams of a batch may write next, and the log-probability of each: any tokens, or those of the item's words.

options = OwnTokens(model, legal, max_tokens, wanted=10)
scores, tokens = options.best(states)            # [n, beams, wanted], from states [n, beams, d]
options.go(parents, written)                     # the beams that go on and what they wrote, [n, beams]
ends = options.ends(states)                      # [n, beams]: of the end token, where nothing else may follow
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from components.networks.interface import LanguageModel
from components.textid.writing.legal import LegalWords
from components.textid.writing.spelling import Spelling

NONE = float("-inf")
"""Score of what is not there."""
_CELLS_CPU, _CELLS_GPU = 1 << 21, 1 << 26
"""Logits at a time."""


class OwnTokens:
    """The legal words of each item, spelt; log-probabilities among all tokens of these words and the end token.

    Tokens that are none of the item's have no logit: a hundred are computed instead of a vocabulary.
    """

    def __init__(self, model: LanguageModel, legal: LegalWords, max_tokens: int, wanted: int) -> None:
        missing = max(0, wanted - legal.columns.shape[1])
        columns = functional.pad(legal.columns, (0, missing), value=model.end_token)
        real = torch.arange(columns.shape[1], device=columns.device) <= legal.ends[:, None]
        self._spelling, self._legal = Spelling(legal, max_tokens), legal
        self._columns, self._wanted, self._missing = columns, wanted, missing
        self._padding = ~real[:, None]
        self._weight = model.output_rows(columns.flatten()).view(*columns.shape, -1).transpose(1, 2)

    def best(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The best scores of each beam and their tokens, best first; -inf where fewer are legal than wanted."""
        may = functional.pad(self._spelling.look(), (0, self._missing))
        scores, places = self._log_softmax(states).masked_fill(~may, NONE).topk(self._wanted)
        return scores, self._columns[:, None].expand_as(may).gather(2, places)

    def go(self, parents: Tensor, tokens: Tensor) -> None:
        """Beams `parents` of those before go on, and have written `tokens`."""
        self._spelling.go(parents, tokens)

    def ends(self, states: Tensor) -> Tensor:
        """The score of the end token for each beam."""
        return self._end_of(self._log_softmax(states)).masked_fill(~self._end_of(self._spelling.look()), NONE)

    def _end_of(self, columns: Tensor) -> Tensor:
        return columns.gather(2, self._legal.ends[:, None, None].expand(-1, columns.shape[1], 1))[..., 0]

    def _log_softmax(self, states: Tensor) -> Tensor:
        return (states.float() @ self._weight).masked_fill(self._padding, NONE).log_softmax(2)


class AnyTokens:
    """Tokens of the whole vocabulary, some of which may be written; log-probabilities among all of it."""

    def __init__(
        self, model: LanguageModel, allowed: Tensor | None, pad_id: int, wanted: int, device: torch.device
    ) -> None:
        columns, self._legal = _columns(model.vocabulary_size, allowed, model.end_token, pad_id)
        self._columns, self._wanted = columns.to(device), min(wanted, len(columns))
        self._logits, self._first = model.step_logits(self._columns), True

    def best(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The best scores of each beam and their tokens, best first; -inf where fewer are legal than wanted."""
        legal = self._legal - self._first  # the end token stands last of the legal ones, and may not come first
        found = []
        for block in self._log_softmax(states):
            block[:, legal:] = NONE
            found.append(block.topk(self._wanted))
        scores, places = (torch.cat(values).view(*states.shape[:2], -1) for values in zip(*found, strict=True))
        return scores, self._columns[places]

    def go(self, parents: Tensor, tokens: Tensor) -> None:
        """Any token may follow any other; the end token as well, from now on."""
        self._first = False

    def ends(self, states: Tensor) -> Tensor:
        """The score of the end token for each beam."""
        return torch.cat([block[:, self._legal - 1] for block in self._log_softmax(states)]).view(states.shape[:2])

    def _log_softmax(self, states: Tensor) -> Iterator[Tensor]:
        """Log-probabilities of all columns, float32, a block of rows at a time: a large vocabulary is never whole."""
        rows = states.flatten(0, 1)
        for part in rows.split(max(1, (_CELLS_GPU if rows.is_cuda else _CELLS_CPU) // len(self._columns))):
            yield self._logits(part).float().log_softmax(1)


def _columns(size: int, allowed: Tensor | None, end: int, pad_id: int) -> tuple[Tensor, int]:
    """All tokens of a vocabulary: those that may be written, the end token, then the others; and how many may be."""
    mask = torch.ones(size, dtype=torch.bool)
    if allowed is not None:
        mask.fill_(False)
        mask[: len(allowed)] = allowed.cpu()[:size]
    mask[[end, pad_id]] = False
    others = ~mask
    others[end] = False
    written = mask.nonzero().flatten()
    return torch.cat([written, torch.tensor([end]), others.nonzero().flatten()]), len(written) + 1
