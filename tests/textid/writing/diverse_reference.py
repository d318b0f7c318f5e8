"""Diverse beam search as the paper says it, slow and obvious: one item, no cache, plain Python lists."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

Tokens = tuple[int, ...]


def log_probabilities(model: PreTrainedModel, text: list[int], written: Tokens) -> list[float]:
    """log p(next token | text, written), from a whole forward pass."""
    start = model.config.decoder_start_token_id
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([text]), decoder_input_ids=torch.tensor([[start, *written]])).logits
    return logits[0, -1].log_softmax(dim=-1).tolist()


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
) -> list[tuple[Tokens, float]]:
    """Different token sequences with the model's own scores, best first."""
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
                for token in choices:
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
