"""Spells legal words: which tokens the beams of a batch may write next, and where they stand after one of them.

    spelling = Spelling(legal, max_tokens=8)         # legal.LegalWords of n items; one beam an item
    spelling.look()                                  # bool [n, beams, C]: columns that may come next
    spelling.go(parents, tokens)                     # the beams that go on, and what they write

A beam is inside a word, at its end, or at the beginning. A word is said once; whoever begins one can finish it, and can
still meet all demands, within the tokens that are left. Every beam that writes `max_tokens` so may end there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.textid.writing.legal import LegalWords


@dataclass
class _Next:
    """What `look` found for each beam and word, [n, beams, W], that `go` follows."""

    going: Tensor
    """The word may go on."""
    starting: Tensor
    """The word may begin, behind the one that is whole."""
    tokens: Tensor
    """The next token of the word that goes on."""
    said: Tensor
    """The words said if another begins."""
    open: Tensor
    """[n, beams]: the demands that are open then, as bits."""


class Spelling:
    """Where beams stand in the words of their items. n items, W words, C columns."""

    _next: _Next

    def __init__(self, legal: LegalWords, max_tokens: int) -> None:
        items, words = legal.meets.shape
        self._legal, self._left, self._written = legal, max_tokens, 0
        self._longest = legal.tokens.shape[1] // 2
        self._at = torch.zeros(items, 1, words, dtype=torch.bool, device=legal.meets.device)
        """[n, beams, W]: words that begin with what was written since the last one."""
        self._said = torch.zeros_like(self._at)
        self._depth = torch.zeros(items, 1, dtype=torch.long, device=legal.meets.device)
        """[n, beams]: tokens written since then."""
        self._later = torch.zeros_like(self._depth)
        """[n, beams]: 0 within the first word, 1 in those behind it."""
        self._open = legal.demands[:, None]
        """[n, beams]: demands that no word has met yet, as bits."""

    def look(self) -> Tensor:
        """Columns that may be written next: bool [n, beams, C]."""
        legal, left, first = self._legal, self._left - self._written, self._written == 0
        place = self._later * self._longest + self._depth.clamp(max=self._longest - 1)
        lengths, columns = _of_words(legal.lengths, self._later), _of_words(legal.places, place)
        whole = self._at & (lengths == self._depth[..., None])  # of at most one word
        ended = whole.any(-1, keepdim=True)
        rest = self._open & ~(whole * legal.meets[:, None]).sum(-1)
        said = self._said | whole
        going = self._at & ~whole & (lengths - self._depth[..., None] + self._cost(self._open) <= left)
        start_lengths = legal.lengths[:, None, 0 if first else 1]
        starting = ~said & (start_lengths > 0) & (start_lengths + self._cost(rest) <= left) & (ended | first)
        self._next = _Next(going, starting, _of_words(legal.tokens, place), said, rest)
        none = legal.columns.shape[1]
        may = torch.zeros(*rest.shape, none + 1, dtype=torch.bool, device=rest.device)
        may.scatter_(2, columns.masked_fill(~going, none), True)
        starts = legal.places[:, None, 0 if first else self._longest].expand_as(columns)
        may.scatter_(2, starts.masked_fill(~starting, none), True)
        may_end = ended[..., 0] & (rest == 0)
        may.scatter_(2, legal.ends[:, None].expand_as(rest).masked_fill(~may_end, none)[..., None], True)
        return may[..., :none]

    def go(self, parents: Tensor, tokens: Tensor) -> None:
        """Write `tokens` [n, K] behind the beams numbered `parents` [n, K] of those that `look` looked at."""
        found, first = self._next, self._written == 0
        start_tokens = self._legal.tokens[:, None, 0 if first else self._longest]
        going = _rows(found.going, parents) & (_rows(found.tokens, parents) == tokens[..., None])
        goes = going.any(-1)  # a token that would do both goes on
        starting = _rows(found.starting, parents) & (start_tokens == tokens[..., None])
        self._at = torch.where(goes[..., None], going, starting)
        self._said = torch.where(goes[..., None], _rows(self._said, parents), _rows(found.said, parents))
        self._open = torch.where(goes, self._open.gather(1, parents), found.open.gather(1, parents))
        self._depth = torch.where(goes, self._depth.gather(1, parents) + 1, 1)
        self._later = torch.where(goes, self._later.gather(1, parents), 0 if first else 1)
        self._written += 1

    def _cost(self, open_: Tensor) -> Tensor | int:
        """Tokens that meet what each word would leave of the demands `open_` [n, beams]: [n, beams, W]."""
        costs, meets = self._legal.costs, self._legal.meets
        if costs.shape[1] == 1:
            return 0
        left = open_[..., None] & ~meets[:, None]
        return costs.gather(1, left.flatten(1)).view(left.shape)


def _of_words(table: Tensor, places: Tensor) -> Tensor:
    """table[item, places[item, beam]] of each beam: [n, P, W], [n, beams] -> [n, beams, W]."""
    return table.gather(1, places[..., None].expand(-1, -1, table.shape[2]))


def _rows(values: Tensor, parents: Tensor) -> Tensor:
    """values[item, parents[item, beam]]: [n, B, W], [n, K] -> [n, K, W]."""
    return values.gather(1, parents[..., None].expand(-1, -1, values.shape[2]))
