"""Greedy IDs: the words that a generator takes, step by step and without gradient.

tokens = greedy(generator, states, mask, max_tokens=10, never=(0, 2))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from components.networks.stepping import stepper


def choose(logits: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy choice [...] from logits [..., vocabulary]: the one rule of what is most probable."""
    allowed = logits.clone()
    allowed[..., list(never)] = float("-inf")
    return allowed.argmax(-1)


@torch.no_grad()
def greedy(generator: Any, encoded: Tensor, attention_mask: Tensor, *, max_tokens: int, never: Sequence[int]) -> Tensor:
    """Most probable token at each step, [items, max_tokens], padding after the end token.

    `encoded` [items, S, d] and `attention_mask` [items, S]: the encoder's states of the item texts. None of `never`
    stands in an ID, and no end token at its first step: an empty ID names nothing.
    """
    config = generator.config
    writer = stepper(generator, encoded, attention_mask, beams=1, max_tokens=max_tokens)
    parents = torch.zeros(len(encoded), 1, dtype=torch.int64, device=encoded.device)
    open_rows = torch.ones(len(encoded), dtype=torch.bool, device=encoded.device)
    tokens = torch.full((len(encoded), max_tokens), config.pad_token_id, device=encoded.device)
    states = writer.first()
    for step in range(max_tokens):
        choice = choose(writer.logits(states), never if step else [*never, config.eos_token_id])
        tokens[:, step] = torch.where(open_rows, choice, config.pad_token_id)
        open_rows &= choice != config.eos_token_id
        if step + 1 == max_tokens or not open_rows.any():
            break
        states = writer.next(parents, choice[:, None])
    return tokens
