"""Greedy decoding: the IDs that a generator writes, step by step and without gradient.

tokens = greedy(generator, encoded, mask, max_tokens=10, never=(0, 2))
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from components.networks.encoder_decoder import EncoderDecoder


def choose(logits: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy choice [...] from logits [..., vocabulary]: the one rule of what is most probable."""
    allowed = logits.clone()
    allowed[..., list(never)] = float("-inf")
    return allowed.argmax(-1)


@torch.no_grad()
def greedy(
    generator: EncoderDecoder, encoded: Tensor, attention_mask: Tensor, *, max_tokens: int, never: Sequence[int]
) -> Tensor:
    """Most probable token at each step, [items, max_tokens], padding after the end token.

    `encoded` [items, S, d] and `attention_mask` [items, S]: the encoder's states of the item texts. None of `never`
    stands in an ID, and no end token at its first step: an empty ID names nothing.
    """
    pad, end = generator.module.config.pad_token_id, generator.end_token
    cache = generator.prefill_encoded(encoded, attention_mask, capacity=1 + max_tokens)
    logits = generator.step_logits()
    parents = torch.zeros(len(encoded), 1, dtype=torch.int64, device=encoded.device)
    open_rows = torch.ones(len(encoded), dtype=torch.bool, device=encoded.device)
    tokens = torch.full((len(encoded), max_tokens), pad, device=encoded.device)
    choice = torch.full_like(parents[:, 0], generator.start_token)
    for step in range(max_tokens):
        states = generator.step(cache, choice[:, None, None], parents).flatten(0, 2)
        choice = choose(logits(states), never if step else [*never, end])
        tokens[:, step] = torch.where(open_rows, choice, pad)
        open_rows &= choice != end
        if step + 1 < max_tokens and not open_rows.any():
            break
    return tokens
