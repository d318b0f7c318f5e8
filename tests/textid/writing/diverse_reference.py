"""Diverse beam search as the paper says it, slow and obvious: one item, no cache, plain Python lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import torch
from transformers import PreTrainedModel

Tokens = tuple[int, ...]


def log_probabilities(model: PreTrainedModel, text: list[int], written: Tokens) -> list[float]:
    """log p(next token | text, written), from a whole forward pass."""
    start = model.config.decoder_start_token_id
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([text]), decoder_input_ids=torch.tensor([[start, *written]])).logits
    return logits[0, -1].log_softmax(dim=-1).tolist()


def legal_ids(
    words: list[str], demands: list[set[str]], encode: Callable[[str], Tokens], max_tokens: int
) -> dict[Tokens, str]:
    """Every ID of an item: different words of it in any order, among them one of each demand, that fit. One by one."""
    orders = (order for count in range(1, len(words) + 1) for order in permutations(words, count))
    said = {encode(" ".join(order)): " ".join(order) for order in orders if all(d & set(order) for d in demands)}
    return {tokens: words for tokens, words in said.items() if len(tokens) <= max_tokens}


def propose_slowly(
    model: PreTrainedModel,
    text: list[int],
    *,
    candidates: int,
    groups: int,
    diversity_penalty: float,
    max_tokens: int,
    allowed: set[int],
    eos_id: int = 1,
    length_penalty: float = 1.0,
    ids: set[Tokens] | None = None,
) -> list[tuple[Tokens, float]]:
    """Different token sequences with the model's own scores, best first.

    ids: the only ones that may be written; probabilities are then those among `allowed` and the end token.
    """
    width = candidates // groups
    live: list[list[tuple[float, float, Tokens]]] = [[(0.0, 0.0, ())] for _ in range(groups)]  # ranking, score, tokens
    done: list[list[tuple[float, float, Tokens]]] = [[] for _ in range(groups)]
    for step in range(max_tokens + 1):
        choices = allowed if step == 0 else {eos_id} if step == max_tokens else allowed | {eos_id}
        taken: dict[int, int] = {}
        for group in range(groups):
            options = []
            for ranking, score, tokens in live[group]:
                row = log_probabilities(model, text, tokens)
                if ids is not None:
                    total = math.log(sum(math.exp(row[token]) for token in allowed | {eos_id}))
                    row = [value - total for value in row]
                for token in choices:
                    if ids is not None and not _may_follow(token, tokens, ids, eos_id):
                        continue
                    cost = diversity_penalty * taken.get(token, 0)
                    options.append((ranking + row[token] - cost, score + row[token], tokens, token))
            options.sort(key=lambda option: -option[0])
            for ranking, score, tokens, token in options[:width]:
                if token == eos_id:
                    length = (len(tokens) + 1) ** length_penalty
                    done[group].append((ranking / length, score / length, tokens))
            done[group] = sorted(done[group], key=lambda entry: -entry[0])[:width]
            going = [option for option in options if option[3] != eos_id][:width]
            live[group] = [(ranking, score, (*tokens, token)) for ranking, score, tokens, token in going]
            for *_, token in going:
                taken[token] = taken.get(token, 0) + 1
    best: dict[Tokens, float] = {}
    for _, score, tokens in (entry for entries in done for entry in entries):
        best[tokens] = max(score, best.get(tokens, float("-inf")))
    return sorted(best.items(), key=lambda entry: -entry[1])


def _may_follow(token: int, written: Tokens, ids: set[Tokens], eos_id: int) -> bool:
    """Whether some ID begins with what is written and `token`, or ends there."""
    if token == eos_id:
        return written in ids
    longer = (*written, token)
    return any(tokens[: len(longer)] == longer for tokens in ids)
