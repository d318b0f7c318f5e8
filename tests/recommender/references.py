"""Slow, obvious decoders that the fast one is held to: Hugging Face `generate`, and a search over a dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

END = 1
IDs = Sequence[tuple[int, ...]]
Answer = list[list[tuple[int, float]]]
"""Per user (item, score), best first."""


def dict_trie(ids: IDs, excluded: Sequence[int] = (), *, end: int = END) -> dict[tuple[int, ...], list[int]]:
    """Prefix -> legal next tokens."""
    following: dict[tuple[int, ...], set[int]] = {}
    for item, sequence in enumerate(ids):
        if item not in excluded:
            for length, token in enumerate([*sequence, end]):
                following.setdefault(tuple(sequence[:length]), set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in following.items()}


def by_hugging_face(
    model: Any,
    ids: IDs,
    input_ids: Tensor,
    mask: Tensor,
    *,
    beams: int,
    results: int,
    length_penalty: float = 0.0,
    excluded: Sequence[Sequence[int]] | None = None,
    end: int = END,
) -> Answer:
    """What anyone would write. Fillers, which it lets out when legal items are few, are taken out here."""
    whole = dict_trie(ids, end=end)
    tries = [dict_trie(ids, seen, end=end) if len(seen) else whole for seen in excluded or [()] * len(input_ids)]
    places = {tuple(sequence): item for item, sequence in enumerate(ids)}

    # A decoder-only model writes after its prompt, so prompts are padded on the left; the other after its start token.
    alone = not model.config.is_encoder_decoder
    begin = input_ids.shape[1] if alone else 1
    if alone:
        shift = (torch.arange(begin) + mask.sum(1, keepdim=True)) % begin
        input_ids, mask = input_ids.gather(1, shift), mask.gather(1, shift)

    def allowed(user: int, written: Tensor) -> list[int]:
        return tries[user].get(tuple(written[begin:].tolist()), [end])

    if beams == 1:
        raise ValueError("generate with one beam is greedy search and returns no scores")
    output = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=results,
        max_new_tokens=max(map(len, ids)) + 1,
        length_penalty=length_penalty,
        early_stopping="never",
        do_sample=False,
        prefix_allowed_tokens_fn=allowed,
        return_dict_in_generate=True,
        output_scores=True,
    )
    answer: Answer = []
    for user in range(len(input_ids)):
        found: list[tuple[int, float]] = []
        for row in range(user * results, (user + 1) * results):
            written = output.sequences[row, begin:].tolist()
            sequence = tuple(written[: written.index(end)]) if end in written else tuple(written)
            score = float(output.sequences_scores[row])
            legal = end in tries[user].get(sequence, []) and score > -1e6
            if legal and places[sequence] not in [item for item, _ in found]:
                found.append((places[sequence], score))
        answer.append(found)
    return answer


def by_dict(
    model: Any,
    ids: IDs,
    input_ids: Tensor,
    mask: Tensor,
    *,
    scores: str,
    beams: int,
    results: int,
    length_penalty: float = 0.0,
    excluded: Sequence[Sequence[int]] | None = None,
) -> Answer:
    """Beam search one user at a time, whole forwards, Python lists: both score modes, by their definition."""
    everything = dict_trie(ids)
    items = {tuple(sequence): item for item, sequence in enumerate(ids)}
    answer: Answer = []
    for user in range(len(input_ids)):
        seen = set((excluded or [()] * len(input_ids))[user])

        def below(prefix: tuple[int, ...]) -> list[int]:
            return [item for item, sequence in enumerate(ids) if (*sequence, END)[: len(prefix)] == prefix]

        def left(prefix: tuple[int, ...], seen: set[int] = seen) -> bool:
            return any(item not in seen for item in below(prefix))

        live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        done: list[tuple[float, int]] = []
        while live:
            candidates = []
            logs = next_log_probabilities(model, input_ids[user], mask[user], [prefix for _, prefix in live])
            for log, (score, prefix) in zip(logs, live, strict=True):
                legal = everything[prefix]
                if scores == "trie":
                    log = log - log[legal].logsumexp(0)
                candidates += [(score + float(log[token]), (*prefix, token)) for token in legal]
            candidates = sorted(
                (pair for pair in candidates if left(pair[1])), key=lambda pair: (-pair[0], min(below(pair[1])))
            )
            live = []
            for rank, (score, prefix) in enumerate(candidates[: 2 * beams]):
                if prefix[-1] == END or (scores == "trie" and len(below(prefix)) == 1):
                    item = below(prefix)[0] if prefix[-1] != END else items[prefix[:-1]]
                    if rank < beams:
                        done.append((score / (len(ids[item]) + 1) ** length_penalty, item))
                else:
                    live.append((score, prefix))
            live = live[:beams]
        best = sorted(done, key=lambda pair: (-pair[0], pair[1]))[:results]
        answer.append([(item, score) for score, item in best])
    return answer


def next_log_probabilities(model: Any, prompt: Tensor, mask: Tensor, prefixes: Sequence[tuple[int, ...]]) -> Tensor:
    """[prefixes, vocabulary] after each of `prefixes`, which are equally long, by one whole forward."""
    rows, written = len(prefixes), torch.tensor(prefixes, dtype=torch.long)
    with torch.no_grad():
        if not model.config.is_encoder_decoder:
            whole = torch.cat([prompt[mask == 1].expand(rows, -1), written], dim=1)
            logits = model(input_ids=whole).logits
        else:
            start = torch.full((rows, 1), model.config.decoder_start_token_id)
            read = {"input_ids": prompt.expand(rows, -1), "attention_mask": mask.expand(rows, -1)}
            logits = model(**read, decoder_input_ids=torch.cat([start, written], dim=1)).logits
    return logits[:, -1].float().log_softmax(-1)
