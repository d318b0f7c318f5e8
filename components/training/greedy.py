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

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from components.recommender.encoder_decoder import EncoderDecoder

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
    step_on = _stepper(generator, encoded, attention_mask, max_tokens)
    last = torch.full((len(encoded), 1), config.decoder_start_token_id, device=encoded.device)
    open_rows = torch.ones(len(encoded), dtype=torch.bool, device=encoded.device)
    tokens = torch.full((len(encoded), max_tokens), config.pad_token_id, device=encoded.device)
    for step in range(max_tokens):
        choice = choose(step_on(last), [*never, config.eos_token_id] if step == 0 else never)
        tokens[:, step] = torch.where(open_rows, choice, config.pad_token_id)
        open_rows &= choice != config.eos_token_id
        if not open_rows.any():
            break
        last = choice[:, None]
    return tokens


def _stepper(generator: Any, encoded: Tensor, attention_mask: Tensor, longest: int) -> Callable[[Tensor], Tensor]:
    """A function from the tokens just written [items, 1] to the logits after them [items, vocabulary].

    T5's own step (`EncoderDecoder`) costs a fifth of the library's, which serves the other architectures.
    """
    if generator.config.model_type in ("t5", "mt5"):
        writer = EncoderDecoder(generator)
        state = writer.listen(encoded, attention_mask, capacity=longest)
        parents = torch.zeros(len(encoded), 1, dtype=torch.int64, device=encoded.device)
        return lambda last: logits_of(generator, writer.step(state, last[:, :, None], parents)[:, 0, 0])
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    return lambda last: generator(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        attention_mask=attention_mask,
        decoder_input_ids=last,
        past_key_values=cache,
        use_cache=True,
    ).logits[:, -1]


def _decoded(
    generator: Any, encoded: Sequence[tuple[Tensor, Tensor]], tokens: Tensor, which: Tensor, never: Sequence[int]
) -> Tensor:
    """`tokens` with the IDs of the items `which` [items] decoded step by step, those of all groups at a time."""
    if not bool(which.any()):
        return tokens
    width = max(mask.shape[1] for _, mask in encoded)
    chosen = which.split([len(mask) for _, mask in encoded])
    states = [
        functional.pad(group.detach()[rows], (0, 0, 0, width - group.shape[1]))
        for (group, _), rows in zip(encoded, chosen, strict=True)
    ]
    masks = [
        functional.pad(mask[rows], (0, width - mask.shape[1])) for (_, mask), rows in zip(encoded, chosen, strict=True)
    ]
    tokens = tokens.clone()
    tokens[which] = greedy(generator, torch.cat(states), torch.cat(masks), max_tokens=tokens.shape[1], never=never)
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
