"""Slots of a decoder-only model's cache in which the tokens of beams lie, and the mask of which beam sees which slot.

The slots never move. A beam sees those of its ancestors: re-ordering the beams changes the mask, not keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Slots:
    """The slots in use, of a batch of rows; all rows use the same ones, but their beams have other ancestors."""

    ancestors: Tensor
    """[rows, beams, used] bool: the slots that each beam of the last step descends from, itself included."""
    depths: list[int]
    """Place of each used slot's token in its sequence, from 0."""
    places: Tensor
    """[used] int64: the same on the device, where a list would have to be copied, and waited for, in every step."""

    @classmethod
    def none(cls, rows: int, device: torch.device) -> Slots:
        """One beam a row, nothing written."""
        return cls(
            torch.zeros(rows, 1, 0, dtype=torch.bool, device=device),
            [],
            torch.zeros(0, dtype=torch.long, device=device),
        )

    def grow(self, parents: Tensor, length: int) -> tuple[Tensor, list[int]]:
        """Take slots for `length` tokens each of the beams that go on from `parents` [rows, K].

        Returns what each new token sees, itself included, [rows, K * length, used] bool, and the new tokens' depths,
        which are the last of `places` too.
        """
        rows, beams = parents.shape
        used, start = len(self.depths), (self.depths[-1] + 1 if self.depths else 0)
        inherited = self.ancestors.gather(1, parents[:, :, None].expand(-1, -1, used))
        own = torch.eye(beams, dtype=torch.bool, device=parents.device)[:, None, :, None]
        earlier = torch.ones(length, length, dtype=torch.bool, device=parents.device).tril()[None, :, None, :]
        new = (own & earlier).reshape(1, beams * length, beams * length)
        seen = torch.cat([inherited.repeat_interleave(length, 1), new.expand(rows, -1, -1)], 2)
        self.ancestors = seen[:, length - 1 :: length]
        fresh = [start + offset for _ in range(beams) for offset in range(length)]
        self.depths = self.depths + fresh
        written = torch.arange(start, start + length, device=parents.device)
        self.places = torch.cat([self.places, written.repeat(beams)])
        return seen, fresh

    def select(self, rows: Tensor) -> Slots:
        """The slots of the rows numbered `rows` [n] alone."""
        return Slots(self.ancestors[rows], list(self.depths), self.places)
