"""Diverse (group) beam search with a language model: several different candidates for each item.

Vijayakumar et al., "Diverse Beam Search" (AAAI 2018), with Hamming diversity. Beams are parted into groups; in every
step the groups choose one after the other, and a token costs `diversity_penalty` for each beam of an earlier group
that has just taken it. Within a group it is the usual beam search, so `groups=1` is exactly that. The model
reads an item once and writes one token at a time with a cache for all groups at once, and nothing in the loop asks
the device for a value. What a beam may write next, and at what score, `options.py` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.networks.interface import LanguageModel
from components.textid.writing.legal import LegalWords
from components.textid.writing.options import NONE, AnyTokens, OwnTokens


@torch.inference_mode()
def propose(
    model: LanguageModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    candidates: int,
    groups: int,
    diversity_penalty: float,
    max_tokens: int,
    pad_id: int,
    allowed: Tensor | None = None,
    legal: LegalWords | None = None,
    length_penalty: float = 1.0,
    prompt: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Write `candidates` different token sequences for each of n items.

    input_ids, attention_mask: [n, S]. prompt: embeddings [n, S, d] that are read instead of the ids. legal: the words
    of each item that may be written, each once, and what must be said of it. Without them `allowed`: bool [V], tokens
    that may be written (null: all but padding). The end token may follow whole words, or any token, but not come first.
    Returns tokens [n, candidates, max_tokens], without the end token and padded with `pad_id`, and float32 scores [n,
    candidates], best first: the log-probability that the *model* gives the sequence and its end, among all tokens of
    the item's legal words or of the vocabulary, divided by their length ^ `length_penalty`. The diversity penalty
    decides which sequences are found, it is not in their scores. A sequence that two groups found is returned once;
    missing ones have score -inf.
    """
    if candidates % groups:
        raise ValueError(f"{groups} groups do not divide {candidates} candidates")
    # No token outside a beam's best `wanted` can be chosen: earlier groups penalise at most candidates - width tokens.
    wanted, device = candidates + candidates // groups, input_ids.device
    if legal is None:
        options: AnyTokens | OwnTokens = AnyTokens(model, allowed, pad_id, wanted, device)
    else:
        options = OwnTokens(model, legal.to(device), max_tokens, wanted)
    cache = model.prefill(input_ids if prompt is None else prompt, attention_mask, capacity=1 + candidates * max_tokens)
    beams = _Beams.start(len(input_ids), groups, candidates // groups, max_tokens, pad_id, device)
    start = torch.full_like(input_ids[:, :1], model.start_token)
    parents = torch.zeros_like(start)
    states = model.step(cache, start[:, :, None], parents)[:, :, 0]
    for step in range(max_tokens):
        scores, tokens = options.best(states)
        parents = _choose(
            beams,
            scores.expand(-1, candidates, -1),
            tokens.expand(-1, candidates, -1),
            step=step,
            end=model.end_token,
            diversity_penalty=diversity_penalty,
            length_penalty=length_penalty,
        )
        if step == 0:  # all beams go on from the one row of their item
            parents = torch.zeros_like(parents)
        written = beams.tokens[..., step].flatten(1)
        options.go(parents, written)
        states = model.step(cache, written[:, :, None], parents)[:, :, 0]
    _finish_all(beams, options.ends(states).view_as(beams.scores), (max_tokens + 1) ** length_penalty)
    return _collect(beams, candidates, pad_id)


@dataclass
class _Beams:
    """Live beams and, for each group, its best finished sequences. n items, G groups of W beams, T tokens."""

    tokens: Tensor
    """[n, G, W, T]: what the live beams have written."""
    ranking: Tensor
    """[n, G, W]: log-probability less the diversity penalties, by which a group chooses."""
    scores: Tensor
    """[n, G, W]: log-probability of the model alone."""
    done_tokens: Tensor
    """[n, G, W, T]: finished sequences, best first."""
    done_ranking: Tensor
    """[n, G, W]: their ranking divided by length; -inf where none is."""
    done_scores: Tensor
    """[n, G, W]: their score divided by length."""

    @classmethod
    def start(cls, items: int, groups: int, width: int, length: int, pad_id: int, device: torch.device) -> _Beams:
        tokens = torch.full((items, groups, width, length), pad_id, dtype=torch.long, device=device)
        nothing = torch.full((items, groups, width), NONE, device=device)
        first = nothing.clone()
        first[..., 0] = 0.0  # the beams of a group are equal at first: only one may choose
        return cls(tokens, first, first.clone(), tokens.clone(), nothing, nothing.clone())

    @property
    def items(self) -> int:
        return len(self.tokens)


def _choose(
    beams: _Beams,
    scores: Tensor,
    tokens: Tensor,
    *,
    step: int,
    end: int,
    diversity_penalty: float,
    length_penalty: float,
) -> Tensor:
    """One step of every group, in turn. scores, tokens: [n, G * W, K], the best of each beam.

    Returns the parent of every beam: [n, G * W].
    """
    items, groups, width = beams.ranking.shape
    wanted = scores.shape[-1]
    scores, tokens = (values.reshape(items, groups, width, wanted) for values in (scores, tokens))
    reached = (beams.scores[..., None] + scores).flatten(2)  # [n, G, W * K]
    ranking, tokens = (beams.ranking[..., None] + scores).flatten(2), tokens.flatten(2)
    ends: list[tuple[Tensor, Tensor]] = []  # for each group its 2W best and their places, as W of them may be ends
    live: list[tuple[Tensor, Tensor]] = []  # .. and among these the W that go on
    said: list[Tensor] = []  # .. and their tokens; -1 where a beam is dead, which takes nothing from anybody
    for group in range(groups):
        own, options = tokens[:, group], ranking[:, group]
        if said:
            takers = (own[:, :, None] == torch.cat(said, dim=1)[:, None]).sum(-1)
            options = options - diversity_penalty * takers
        best, places = options.topk(2 * width)
        written = own.gather(1, places)
        going, among = best.masked_fill(written == end, NONE).topk(width)
        ends.append((best, places))
        live.append((going, among))
        said.append(written.gather(1, among).masked_fill(going == NONE, -1))
    best, places = (torch.stack(values, dim=1) for values in zip(*ends, strict=True))  # [n, G, 2W]
    going, among = (torch.stack(values, dim=1) for values in zip(*live, strict=True))  # [n, G, W]
    written, parents, reached = tokens.gather(2, places), places // wanted, reached.gather(2, places)
    _finish(beams, parents, best, reached, written == end, (step + 1) ** length_penalty)
    parents = parents.gather(2, among)
    beams.tokens = _rows(beams.tokens, parents)
    beams.tokens[..., step] = written.gather(2, among)
    beams.ranking, beams.scores = going, reached.gather(2, among)
    return (parents + torch.arange(groups, device=parents.device)[:, None] * width).flatten(1)


def _finish_all(beams: _Beams, ends: Tensor, divisor: float) -> None:
    """The longest sequences end here. ends: [n, G, W], log-probability of the end token."""
    ranking, order = (beams.ranking + ends).sort(dim=2, descending=True, stable=True)
    scores = (beams.scores + ends).gather(2, order)
    _finish(beams, order, ranking, scores, torch.ones_like(order, dtype=torch.bool), divisor)


def _finish(beams: _Beams, parents: Tensor, ranking: Tensor, scores: Tensor, ended: Tensor, divisor: float) -> None:
    """Move the ends among each group's W best into its finished sequences, of which the W best are kept."""
    width = beams.ranking.shape[2]
    ranking = ranking[..., :width]
    open_ = ~ended[..., :width] | (ranking == NONE)
    ranking = (ranking / divisor).masked_fill(open_, NONE)
    scores = (scores[..., :width] / divisor).masked_fill(open_, NONE)
    tokens = _rows(beams.tokens, parents[..., :width])
    beams.done_ranking, place = torch.cat([beams.done_ranking, ranking], dim=2).topk(width)
    beams.done_tokens = _rows(torch.cat([beams.done_tokens, tokens], dim=2), place)
    beams.done_scores = torch.cat([beams.done_scores, scores], dim=2).gather(2, place)


def _collect(beams: _Beams, candidates: int, pad_id: int) -> tuple[Tensor, Tensor]:
    """Finished sequences of all groups, best score first, each once."""
    tokens, scores = beams.done_tokens.flatten(1, 2), beams.done_scores.flatten(1)
    scores, place = scores.sort(dim=1, descending=True, stable=True)
    tokens = _rows(tokens, place)
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)  # [n, candidates, candidates]
    earlier = torch.ones(candidates, candidates, dtype=torch.bool, device=tokens.device).tril(-1)
    scores = scores.masked_fill((same & earlier).any(-1), NONE)
    scores, place = scores.sort(dim=1, descending=True, stable=True)
    return _rows(tokens, place).masked_fill((scores == NONE)[..., None], pad_id), scores


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index[..., j], :]: [..., A, T], [..., B] -> [..., B, T]."""
    return values.gather(-2, index[..., None].expand(*index.shape, values.shape[-1]))
