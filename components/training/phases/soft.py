"""Soft IDs: how the recommender's loss reaches the generator (IDGenRec, section 3.3.2, with its code's errors mended).

An ID is a choice of words, and no gradient passes a choice. So the recommender reads, at every position of an ID, the
*mean embedding* under the generator's distribution there: probabilities x embedding table. The released code mixes
log-probabilities (negative weights that do not sum to one), and decodes with gradient, one step after the other.

Here the words are found first, without gradient (`greedy`, from the encoder's states of the pass that has it), and
ONE teacher-forced forward over them gives the distributions with gradient. Both ways feed the decoder the same tokens,
and the choice itself passes no gradient in either, so the gradients are equal; `tests/training/phases/test_soft.py`
holds them equal to 1e-6 in float64. The distributions are computed where a prompt reads them: of padding steps there
are none. Faithful IDs (`index.faithful`) are chosen from the item's own words here as where they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from components.networks.cpu import linear
from components.networks.encoder_decoder import EncoderDecoder
from components.networks.interface import LanguageModel, Placed
from components.recommender.prompts.phrasings import Prompt
from components.textid.writing.legal import LegalWords
from components.textid.writing.spelling import Spelling

_MULTIPLE = 64
"""Distributions are padded to a multiple of this: ever-changing shapes cost a millisecond each, once."""


@dataclass(frozen=True)
class SoftIds:
    """IDs of some items, as chosen tokens and as distributions."""

    tokens: Tensor
    """[items, L] int64, greedy; padding after the end token. On the host, like `lengths`: prompts are made there."""
    lengths: Tensor
    """[items] int64: tokens before the end token; what stands in a prompt."""
    probabilities: Tensor
    """[n, vocabulary], with gradient: of each step before the end token, item after item. There may be more rows, which
    belong to none."""

    def words(self) -> list[list[int]]:
        """The chosen tokens of each item, without the end token."""
        rows, lengths = self.tokens.tolist(), self.lengths.tolist()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    @property
    def starts(self) -> Tensor:
        """[items]: row of `probabilities` where each item begins."""
        return self.lengths.cumsum(0) - self.lengths

    def straight_through(self) -> SoftIds:
        """Read as the chosen words, taught as the distributions (Bengio et al., 2013): the ablation of softness."""
        words = self.tokens[torch.arange(self.tokens.shape[1]) < self.lengths[:, None]]
        words = words.to(self.probabilities.device, non_blocking=True)
        chosen = torch.zeros_like(self.probabilities)
        chosen[torch.arange(len(words), device=words.device), words] = 1.0
        # The difference is exactly zero, so that the recommender reads exactly the embeddings of the words.
        return replace(self, probabilities=chosen + (self.probabilities - self.probabilities.detach()))


def write_soft(
    generator: EncoderDecoder,
    texts: Sequence[tuple[Tensor, Tensor]],
    *,
    max_tokens: int,
    never: Sequence[int],
    legal: LegalWords | None = None,
) -> SoftIds:
    """Soft IDs of items from their texts, with the encoder run once.

    `texts`: (input ids [n, S] or embeddings [n, S, d], mask [n, S]) of groups of items of like length, each with an S
    of its own. An ID has 1 to `max_tokens` tokens, none of `never` (padding, unknown) among them. legal: the legal
    words of all items, in the order of the groups; distributions are then those among the tokens of an item's words. An
    item without any is free.
    """
    own = None if legal is None else _Own.of(legal, generator)
    encoded = [(generator.encode(ids, mask), mask) for ids, mask in texts]
    written = greedy(generator, *_side_by_side(encoded), max_tokens=max_tokens, never=never, own=own)
    tokens = written.cpu()
    read = (tokens == generator.end_token).long().cumsum(1) == 0
    longest = int(read.sum(1).max())  # no prompt reads a step after it
    parts = written[:, :longest].split([len(mask) for _, mask in encoded])
    states = torch.cat([generator.decode(*group, part) for group, part in zip(encoded, parts, strict=True)])
    rows = read[:, :longest].flatten().nonzero()[:, 0]
    filled = torch.cat([rows, rows.new_zeros(-len(rows) % _MULTIPLE)]).to(written.device, non_blocking=True)
    logits = generator.logits(states.flatten(0, 1)[filled])
    if own is not None:
        logits = logits.masked_fill(~own.tokens[filled // longest], float("-inf"))
    # At least float32: bf16 has 8 bits, and a distribution over thousands of words would not sum to one.
    exact = torch.promote_types(logits.dtype, torch.float32)
    return SoftIds(tokens, read.sum(1), logits.to(exact).softmax(-1))


@dataclass(frozen=True)
class _Own:
    """The legal words of n items, as what a greedy choice asks for."""

    legal: LegalWords
    tokens: Tensor
    """bool [n, vocabulary]: tokens of an item's words and the end token; all for an item without words."""
    spelt: Tensor
    """bool [n]: items that have any."""

    @classmethod
    def of(cls, legal: LegalWords, generator: LanguageModel) -> _Own:
        legal = legal.to(generator.module.device)
        spelt = (legal.lengths[:, 0] > 0).any(1)
        return cls(legal, _marked(legal.columns, generator.vocabulary_size) | ~spelt[:, None], spelt)

    def choose(self, logits: Tensor, spelling: Spelling, never: Sequence[int]) -> Tensor:
        """The most probable legal token of each item [n], from logits [n, vocabulary]."""
        size = logits.shape[1]
        may = _marked(self.legal.columns.masked_fill(~spelling.look()[:, 0], size), size + 1)[:, :size]
        return torch.where(self.spelt, logits.masked_fill(~may, float("-inf")).argmax(-1), choose(logits, never))


def _marked(columns: Tensor, size: int) -> Tensor:
    """bool [n, size]: true at the columns [n, C]."""
    return torch.zeros(len(columns), size, dtype=torch.bool, device=columns.device).scatter_(1, columns, True)


def choose(logits: Tensor, never: Sequence[int]) -> Tensor:
    """The greedy choice [...] from logits [..., vocabulary]: the one rule of what is most probable."""
    allowed = logits.clone()
    allowed[..., list(never)] = float("-inf")
    return allowed.argmax(-1)


@torch.no_grad()
def greedy(
    generator: EncoderDecoder,
    encoded: Tensor,
    attention_mask: Tensor,
    *,
    max_tokens: int,
    never: Sequence[int],
    own: _Own | None = None,
) -> Tensor:
    """Most probable token at each step, [items, max_tokens], padding after the end token.

    `encoded` [items, S, d] and `attention_mask` [items, S]: the encoder's states of the item texts. None of `never`
    stands in an ID, and no end token at its first step: an empty ID names nothing. own: the words that may be said.
    """
    spelling = None if own is None else Spelling(own.legal, max_tokens)
    pad, end = generator.module.config.pad_token_id, generator.end_token
    cache = generator.prefill_encoded(encoded, attention_mask, capacity=1 + max_tokens)
    logits = generator.step_logits()
    parents = torch.zeros(len(encoded), 1, dtype=torch.int64, device=encoded.device)
    open_rows = torch.ones(len(encoded), dtype=torch.bool, device=encoded.device)
    tokens = torch.full((len(encoded), max_tokens), pad, device=encoded.device)
    choice = torch.full_like(parents[:, 0], generator.start_token)
    for step in range(max_tokens):
        states = generator.step(cache, choice[:, None, None], parents).flatten(0, 2)
        values, barred = logits(states), never if step else [*never, end]
        if own is None or spelling is None:
            choice = choose(values, barred)
        else:
            choice = own.choose(values, spelling, barred)
            spelling.go(parents, choice[:, None])
        tokens[:, step] = torch.where(open_rows, choice, pad)
        open_rows &= choice != end
        if step + 1 < max_tokens and not open_rows.any():
            break
    return tokens


def _side_by_side(encoded: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """States and mask of all groups, without gradient, padded to the longest text: a step costs its calls, not rows."""
    width = max(mask.shape[1] for _, mask in encoded)
    states = [functional.pad(group.detach(), (0, 0, 0, width - group.shape[1])) for group, _ in encoded]
    return torch.cat(states), torch.cat([functional.pad(mask, (0, width - mask.shape[1])) for _, mask in encoded])


def splice(
    model: LanguageModel,
    input_ids: Tensor,
    prompts: Sequence[Prompt],
    items: Sequence[Sequence[int]],
    soft: SoftIds,
) -> Tensor:
    """Embeddings [rows, S, d] of a batch of prompts, with the mean embeddings of `soft` where `places` says."""
    rows, columns, steps = places(prompts, items, soft)
    return model.embed(input_ids, Placed(rows, columns, mean_embeddings(model, soft.probabilities), steps))


def mean_embeddings(model: LanguageModel, probabilities: Tensor) -> Tensor:
    """Probabilities [n, vocabulary] x the embedding table, with gradient: [n, d].

    The table may have more rows than there are probabilities: checkpoints round their vocabulary up. BART's multiplies
    its rows by an `embed_scale`.
    """
    table: Any = model.module.get_input_embeddings()
    weight = table.weight[: probabilities.shape[1]]
    return linear(probabilities.to(weight.dtype), weight.T) * getattr(table, "embed_scale", 1.0)


def places(prompts: Sequence[Prompt], items: Sequence[Sequence[int]], soft: SoftIds) -> tuple[Tensor, Tensor, Tensor]:
    """Where soft IDs stand in a batch of prompts: [n] rows, columns, and rows of `soft.probabilities`.

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
    found = torch.tensor([rows, columns, numbers, steps], dtype=torch.int64)
    found[3] += soft.starts[found[2]]
    row, column, _, step = found.to(soft.probabilities.device, non_blocking=True)
    return row, column, step
