"""Diverse (group) beam search with a language model: several different candidates for each item.

Vijayakumar et al., "Diverse Beam Search" (AAAI 2018), with Hamming diversity. Beams are parted into groups; in every
step the groups choose one after the other, and a token costs `diversity_penalty` for each beam of an earlier group
that has just taken it. Within a group it is the usual beam search, so `groups=1` is exactly that. The model
reads an item once and writes one token at a time with a cache for all groups at once, and nothing in the loop asks
the device for a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from components.networks.interface import LanguageModel

NONE = float("-inf")
"""Score of what is not there."""
_CELLS_CPU, _CELLS_GPU = 1 << 21, 1 << 26
"""Logits at a time."""

Logits = Callable[[Tensor], Tensor]
"""Hidden states [rows, d] -> their logits [rows, columns]."""


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
    length_penalty: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Write `candidates` different token sequences for each of n items.

    input_ids, attention_mask: [n, S]. allowed: bool [V], tokens that may be written (null: all but padding); the end
    token always may, but not first. Returns tokens [n, candidates, max_tokens], without the end token and padded with
    `pad_id`, and float32 scores [n, candidates], best first: the log-probability that the *model* gives the sequence
    and its end, divided by their length ^ `length_penalty`. The diversity penalty decides which sequences are found,
    it is not in their scores. A sequence that two groups found is returned once; missing ones have score -inf.
    """
    if candidates % groups:
        raise ValueError(f"{groups} groups do not divide {candidates} candidates")
    end = model.end_token
    columns, legal = _columns(model.vocabulary_size, allowed, end, pad_id)
    columns = columns.to(input_ids.device)
    logits = model.step_logits(columns)
    cache = model.prefill(input_ids, attention_mask, capacity=1 + candidates * max_tokens)
    beams = _Beams.start(len(input_ids), groups, candidates // groups, max_tokens, pad_id, input_ids.device)
    # No token outside a beam's best `wanted` can be chosen: earlier groups penalise at most candidates - width tokens.
    wanted = min(candidates + candidates // groups, len(columns))
    start = torch.full_like(input_ids[:, :1], model.start_token)
    parents = torch.zeros_like(start)
    states = model.step(cache, start[:, :, None], parents).flatten(0, 2)
    for step in range(max_tokens):
        # The end token stands last of the legal ones, and may not come first.
        scores, places = _top_tokens(logits, states, len(columns), legal=legal - (step == 0), wanted=wanted)
        scores, tokens = (values.view(beams.items, -1, wanted) for values in (scores, columns[places]))
        parents = _choose(
            beams,
            scores.expand(-1, candidates, -1),
            tokens.expand(-1, candidates, -1),
            step=step,
            end=end,
            diversity_penalty=diversity_penalty,
            length_penalty=length_penalty,
        )
        if step == 0:  # all beams go on from the one row of their item
            parents = torch.zeros_like(parents)
        states = model.step(cache, beams.tokens[..., step].flatten(1)[:, :, None], parents).flatten(0, 2)
    ends = torch.cat([block[:, legal - 1] for block in _log_softmax(logits, states, len(columns))])
    _finish_all(beams, ends.view_as(beams.scores), (max_tokens + 1) ** length_penalty)
    return _collect(beams, candidates, pad_id)


def _top_tokens(logits: Logits, states: Tensor, columns: int, *, legal: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities over all columns and places of the best of the first `legal`, best first, [rows, wanted] each.

    Where fewer are legal than wanted, the last ones have -inf.
    """
    found = []
    for block in _log_softmax(logits, states, columns):
        block[:, legal:] = NONE
        found.append(block.topk(wanted))
    scores, places = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(places)


def _log_softmax(logits: Logits, states: Tensor, columns: int) -> Iterator[Tensor]:
    """Log-probabilities of all columns, float32, a block of rows at a time: a large vocabulary is never held whole."""
    for part in states.split(max(1, (_CELLS_GPU if states.is_cuda else _CELLS_CPU) // columns)):
        yield logits(part).float().log_softmax(1)


def _columns(size: int, allowed: Tensor | None, end: int, pad_id: int) -> tuple[Tensor, int]:
    """All tokens of a vocabulary: those that may be written, the end token, then the others; and how many may be."""
    mask = torch.ones(size, dtype=torch.bool)
    if allowed is not None:
        mask.fill_(False)
        mask[: len(allowed)] = allowed.cpu()[:size]
    mask[[end, pad_id]] = False
    others = ~mask
    others[end] = False
    written = mask.nonzero().flatten()
    return torch.cat([written, torch.tensor([end]), others.nonzero().flatten()]), len(written) + 1


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
