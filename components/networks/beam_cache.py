"""Keys and values of an encoder-decoder's beams: a text's once for all of its beams, written tokens in fixed slots.

The slots never move: each beam gathers its own few tokens, and re-ordering the beams moves slot numbers instead of keys
and values. A mask over all slots (`slots.py`) has every beam multiply with the tokens of all others too: at 20 beams
20 times too many, and quadratically more with more beams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class BeamPaths:
    """The slots in which the tokens of each beam lie."""

    slots: Tensor
    """[depth, rows, beams] int64, the oldest token first."""
    used: int
    """Slots taken of each row's cache."""

    @classmethod
    def none(cls, rows: int, device: torch.device) -> BeamPaths:
        """One beam a row, nothing written."""
        return cls(torch.zeros(0, rows, 1, dtype=torch.long, device=device), 0)

    @property
    def depth(self) -> int:
        """Tokens that each beam has written."""
        return len(self.slots)

    def grow(self, parents: Tensor, length: int) -> slice:
        """Take slots for `length` tokens each of the beams that go on from `parents` [rows, K]; returns which."""
        rows, beams = parents.shape
        inherited = self.slots.gather(2, parents.expand(len(self.slots), -1, -1))
        taken = slice(self.used, self.used + beams * length)
        fresh = torch.arange(taken.start, taken.stop, device=parents.device).view(beams, length).T
        self.slots = torch.cat([inherited, fresh[:, None].expand(-1, rows, -1)])
        self.used = taken.stop
        return taken

    def flat(self, capacity: int) -> Tensor:
        """`slots`, flat, as places in the caches [rows * capacity, ...] of all rows."""
        rows = torch.arange(self.slots.shape[1], device=self.slots.device)
        return (self.slots + rows[:, None] * capacity).flatten()

    def select(self, rows: Tensor) -> BeamPaths:
        """The paths of the rows numbered `rows` [n] alone."""
        return BeamPaths(self.slots.index_select(1, rows), self.used)


@dataclass
class BeamCache:
    """What a decoder remembers of n texts; grown in place by `step`."""

    text_keys: list[Tensor]
    """Per layer [n, heads, S, d_head], once per text: the beams share them."""
    text_values: list[Tensor]
    text_bias: Tensor
    """[n, 1, 1, S]: 0 where the text has a token, -inf at padding."""
    keys: list[Tensor]
    """Per layer [n, capacity, heads * d_head], self-attention."""
    values: list[Tensor]
    distance_bias: Tensor
    """[heads, capacity]: added to the attention by how far a token lies behind the one that asks, which is the last
    column; zeros of a model that has no such bias."""
    paths: BeamPaths

    def select(self, rows: Tensor) -> BeamCache:
        """The cache of the texts numbered `rows` [n] alone."""
        return BeamCache(
            [keys.index_select(0, rows) for keys in self.text_keys],
            [values.index_select(0, rows) for values in self.text_values],
            self.text_bias[rows],
            [keys.index_select(0, rows) for keys in self.keys],
            [values.index_select(0, rows) for values in self.values],
            self.distance_bias,
            self.paths.select(rows),
        )

    def path_bias(self, length: int) -> Tensor:
        """Bias [heads, length, depth] of the last `length` tokens of a path, -inf at later ones."""
        # The token before the last is one nearer to all that lies behind it: the same row, moved by one.
        behind = self.distance_bias[:, -self.paths.depth :]
        return functional.pad(behind, (0, length - 1), value=float("-inf")).unfold(1, self.paths.depth, 1).flip(1)

    def attend(self, layer: int, queries: Tensor, places: Tensor, bias: Tensor) -> Tensor:
        """`path_attention` over what a layer has in the cache."""
        return path_attention(queries, self.keys[layer], self.values[layer], places, bias)


def path_attention(queries: Tensor, keys: Tensor, values: Tensor, places: Tensor, bias: Tensor) -> Tensor:
    """Attention of the newest tokens of all beams over their own paths: [rows, beams * L, heads * d].

    queries [rows, beams * L, heads * d]; keys, values [rows, capacity, heads * d]; places: `BeamPaths.flat` after
    `grow`, of n tokens a beam; bias [heads, L, n] is added to the products, which are not scaled.
    """
    heads, length, depth = bias.shape
    asking = queries.view(-1, length, heads, queries.shape[2] // heads)  # [rows * beams, L, heads, d]
    shape = depth, len(asking), heads, asking.shape[3]
    keys, values = (cache.flatten(0, 1).index_select(0, places).view(shape) for cache in (keys, values))
    if length == 1 and queries.dtype is torch.float32 and not queries.is_cuda:
        return _one_token_attention(asking[:, 0], keys, values, bias[:, 0]).view(queries.shape)
    keys, values = keys.permute(1, 2, 0, 3), values.permute(1, 2, 0, 3)
    blend = functional.scaled_dot_product_attention(asking.transpose(1, 2), keys, values, bias[None], scale=1.0)
    return blend.transpose(1, 2).reshape(queries.shape)


def _one_token_attention(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """The same for queries [n, heads, d] of one token, keys and values [depth, n, heads, d]: [n, heads, d].

    So many and so small products are faster element by element than as a batch of matrix products.
    """
    weights = ((keys * queries).sum(-1) + bias.T[:, None]).softmax(0)[..., None]
    blend = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        blend.addcmul_(weight, value)
    return blend
