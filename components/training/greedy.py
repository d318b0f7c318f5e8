"""Greedy IDs, checked by the forward that has the gradient, so that guessed words are as good as decoded ones.

    tokens, states = settle(generator, encoded, max_tokens=10, never=(0, 2), guesses=guesses)

One decoder forward over guessed words tells at every step which word the generator would have taken there. A guess that
is right at every step IS the greedy ID, and decoding was not needed: as speculative decoding checks a draft (Leviathan
et al., 2023), with the words of the item's last visit as the draft. A step of the phase moves few words.

**The words do not depend on the guesses**, not even where two words score alike to the last bit. What the forward says
of a step depends on the words before it alone, as the decoder is causal and the shapes are those of the batch whatever
was guessed; so by induction one ID only agrees with itself at every step. Guesses decide the time and nothing else, and
a resumed run, which has none, goes on byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

UNSEEN = -1
"""Stands for every word of an item that has no guess."""


def settle(
    generator: Any,
    encoded: Sequence[tuple[Tensor, Tensor]],
    *,
    max_tokens: int,
    never: Sequence[int],
    guesses: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The greedy ID of every item, [items, max_tokens], and the decoder's states over it [items, max_tokens, d].

    `encoded`: (encoder states [n, S, d], mask [n, S]) of groups of items, end to end the items; the gradient flows
    through the states to them. `guesses` [items, max_tokens]: IDs to try first, in any quality; UNSEEN where there is
    none. None of `never` stands in an ID, and no end token at its first step: an empty ID names nothing.
    """
    items = sum(len(mask) for _, mask in encoded)
    shape = (items, max_tokens)
    tokens = guesses if guesses is not None else encoded[0][1].new_full(shape, UNSEEN)
    tokens = _decoded(generator, encoded, tokens, tokens[:, 0] == UNSEEN, never)
    tried = False
    while True:
        states = torch.cat(
            [
                _states(generator, states, mask, part)
                for (states, mask), part in zip(encoded, tokens.split([len(m) for _, m in encoded]), strict=True)
            ]
        )
        taken = _taken(generator, states.detach(), never)
        wrong = (taken != tokens).any(1)
        if not bool(wrong.any()):
            return tokens, states
        if not tried:
            tokens, tried = _decoded(generator, encoded, tokens, wrong, never), True
        else:
            # Decoding and the forward round differently, and two words score alike. What the forward takes is right
            # one step further each time, so this ends.
            tokens = taken


def logits_of(generator: Any, states: Tensor) -> Tensor:
    """Logits [..., vocabulary] of decoder states [..., d]: what the library's forward does after its decoder."""
    config = generator.config
    if getattr(config, "scale_decoder_outputs", False):
        states = states * config.d_model**-0.5
    logits: Tensor = generator.get_output_embeddings()(states)
    bias = getattr(generator, "final_logits_bias", None)
    return logits if bias is None else logits + bias


def choose(logits: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy choice [...] from logits [..., vocabulary]: the one rule of what is most probable."""
    allowed = logits.clone()
    allowed[..., list(never)] = float("-inf")
    return allowed.argmax(-1)


@torch.no_grad()
def greedy(generator: Any, encoded: Tensor, attention_mask: Tensor, *, max_tokens: int, never: Sequence[int]) -> Tensor:
    """Most probable token at each step, [items, max_tokens], padding after the end token; step by step."""
    config = generator.config
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    last = torch.full((len(encoded), 1), config.decoder_start_token_id, device=encoded.device)
    open_rows = torch.ones(len(encoded), dtype=torch.bool, device=encoded.device)
    tokens = torch.full((len(encoded), max_tokens), config.pad_token_id, device=encoded.device)
    for step in range(max_tokens):
        logits = generator(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=attention_mask,
            decoder_input_ids=last,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        choice = choose(logits, [*never, config.eos_token_id] if step == 0 else never)
        tokens[:, step] = torch.where(open_rows, choice, config.pad_token_id)
        open_rows &= choice != config.eos_token_id
        if not open_rows.any():
            break
        last = choice[:, None]
    return tokens


def _decoded(
    generator: Any, encoded: Sequence[tuple[Tensor, Tensor]], tokens: Tensor, which: Tensor, never: Sequence[int]
) -> Tensor:
    """`tokens` with the IDs of the items `which` [items] decoded step by step."""
    tokens, first = tokens.clone(), 0
    for states, mask in encoded:
        rows = which[first : first + len(mask)].nonzero()[:, 0]
        if len(rows):
            tokens[first + rows] = greedy(
                generator, states.detach()[rows], mask[rows], max_tokens=tokens.shape[1], never=never
            )
        first += len(mask)
    return tokens


def _states(generator: Any, encoded: Tensor, attention_mask: Tensor, tokens: Tensor) -> Tensor:
    """Decoder states [items, L, d]: at each step, after the start token and the words before it."""
    start = torch.full_like(tokens[:, :1], generator.config.decoder_start_token_id)
    states: Tensor = generator.get_decoder()(
        input_ids=torch.cat([start, tokens[:, :-1]], 1),
        encoder_hidden_states=encoded,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    ).last_hidden_state
    return states


@torch.no_grad()
def _taken(generator: Any, states: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy word at every step, given the words before it; padding after the end token."""
    end, padding = generator.config.eos_token_id, generator.config.pad_token_id
    logits = logits_of(generator, states)
    taken = choose(logits, never)
    taken[:, 0] = choose(logits[:, 0], [*never, end])
    ended = (taken == end).cumsum(1) - (taken == end).long() > 0
    return taken.masked_fill(ended, padding)
