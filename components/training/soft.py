"""Soft IDs: how the recommender's loss reaches the generator (IDGenRec, section 3.3.2, with its code's errors mended).

An ID is a choice of words, and no gradient passes a choice. So the recommender reads, at every position of an ID, the
*mean embedding* under the generator's distribution there: probabilities x embedding table. The released code mixes
log-probabilities (negative weights that do not sum to one), and decodes with gradient, one step after the other.

Here the IDs are decoded greedily without gradient, and ONE teacher-forced forward over the decoded tokens gives the
distributions with gradient. Both ways feed the decoder the same tokens, and the choice itself passes no gradient in
either, so the gradients are equal; `tests/training/test_soft.py` holds them equal to 1e-6 in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from components.recommender.model import Soft
from components.recommender.prompts import Prompt


@dataclass(frozen=True)
class SoftIds:
    """IDs of some items, as chosen tokens and as distributions."""

    tokens: Tensor
    """[items, L] int64, greedy; padding after the end token."""
    lengths: Tensor
    """[items] int64: tokens before the end token; what stands in a prompt."""
    probabilities: Tensor
    """[items, L, vocabulary], with gradient; steps from the end token on are never read (`splice`)."""

    def words(self) -> list[list[int]]:
        """The chosen tokens of each item, without the end token."""
        rows, lengths = self.tokens.tolist(), self.lengths.tolist()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    def straight_through(self) -> SoftIds:
        """Read as the chosen words, taught as the distributions (Bengio et al., 2013): the ablation of softness."""
        chosen = torch.zeros_like(self.probabilities).scatter_(-1, self.tokens[..., None], 1.0)
        # The difference is exactly zero, so that the recommender reads exactly the embeddings of the words.
        return replace(self, probabilities=chosen + (self.probabilities - self.probabilities.detach()))


def write_soft(
    generator: Any, input_ids: Tensor, attention_mask: Tensor, *, max_tokens: int, never: Sequence[int]
) -> SoftIds:
    """Soft IDs of items from their texts [items, S]: greedy decoding, then one forward with gradient.

    The encoder runs once for both. An ID has 1 to `max_tokens` tokens, none of `never` (padding, unknown) among them.
    """
    encoded = generator.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
    states = encoded.last_hidden_state
    tokens = greedy(generator, states.detach(), attention_mask, max_tokens=max_tokens, never=never)
    logits = generator(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=attention_mask,
        decoder_input_ids=shifted(tokens, generator.config.decoder_start_token_id),
        use_cache=False,
    ).logits
    ended = (tokens == generator.config.eos_token_id).long().cumsum(1)
    # At least float32: bf16 has 8 bits, and a distribution over thousands of words would not sum to one.
    exact = torch.promote_types(logits.dtype, torch.float32)
    return SoftIds(tokens, (ended == 0).sum(1), logits.to(exact).softmax(-1))


@torch.no_grad()
def greedy(generator: Any, encoded: Tensor, attention_mask: Tensor, *, max_tokens: int, never: Sequence[int]) -> Tensor:
    """Most probable token at each step, [items, max_tokens], padding after the end token.

    None of `never`, and no end token at the first step: an empty ID names nothing.
    """
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


def choose(logits: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy choice [items] from logits [items, vocabulary]: the rule that `greedy` and its reference share."""
    allowed = logits.clone()
    allowed[:, list(never)] = float("-inf")
    return allowed.argmax(-1)


def shifted(tokens: Tensor, start: int) -> Tensor:
    """Decoder inputs for `tokens` [items, L]: the start token first, each token one step later."""
    return torch.cat([torch.full_like(tokens[:, :1], start), tokens[:, :-1]], 1)


def splice(prompts: Sequence[Prompt], items: Sequence[Sequence[int]], soft: SoftIds) -> Soft:
    """Where the distributions of `soft` stand in a batch of prompts.

    `items[row]`: number in `soft` of each history item of that prompt, oldest first; -1 where its ID is a hard one. The
    last ones are meant where a prompt kept fewer items. Steps from the end token on have no place: they are masked.
    """
    rows: list[int] = []
    columns: list[int] = []
    numbers: list[int] = []
    steps: list[int] = []
    for row, (prompt, chosen) in enumerate(zip(prompts, items, strict=True)):
        for (start, end), number in zip(prompt.spans, chosen[len(chosen) - len(prompt.spans) :], strict=True):
            if number >= 0:
                rows += [row] * (end - start)
                columns += range(start, end)
                numbers += [number] * (end - start)
                steps += range(end - start)
    device = soft.tokens.device
    at_item, at_step = torch.tensor(numbers, device=device), torch.tensor(steps, device=device)
    return Soft(
        rows=torch.tensor(rows, dtype=torch.int64, device=device),
        columns=torch.tensor(columns, dtype=torch.int64, device=device),
        probabilities=soft.probabilities[at_item.long(), at_step.long()],
    )
