"""Diverse (group) beam search for any Hugging Face encoder-decoder: several different candidates for each item.

Vijayakumar et al., "Diverse Beam Search" (AAAI 2018), with Hamming diversity. Beams are parted into groups; in every
step the groups choose one after the other, and a token costs `diversity_penalty` for each beam of an earlier group
that has just taken it. Within a group it is the usual beam search, so `groups=1` is exactly that. The encoder runs
once per item, the decoder one step at a time with a cache for all groups at once, and nothing in the loop asks the
device for a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from components.textid.stepping import Stepper

NONE = float("-inf")


@torch.inference_mode()
def propose(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    candidates: int,
    groups: int,
    diversity_penalty: float,
    max_tokens: int,
    eos_id: int,
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
    stepper = Stepper(model, input_ids, attention_mask)
    legal = _legal(stepper.vocabulary_size, allowed, eos_id, pad_id, input_ids.device)
    state = _State.start(len(input_ids), groups, candidates // groups, max_tokens, pad_id, input_ids.device)
    logits = stepper.first()
    for step in range(max_tokens):
        scores = logits.float()  # the largest tensor of the loop: changed in place, copied at the first step only
        scores = scores.sub_(scores.logsumexp(dim=-1, keepdim=True)).add_(legal[min(step, 1)])
        scores = scores.view(state.items, -1, scores.shape[-1]).expand(-1, candidates, -1).contiguous()
        parents = _choose(state, scores, step, eos_id, diversity_penalty, length_penalty)
        logits = stepper.next(parents, state.tokens[..., step].reshape(-1), candidates)
    ends = logits[:, eos_id].float() - logits.float().logsumexp(dim=-1)
    _finish_all(state, ends.view_as(state.scores), (max_tokens + 1) ** length_penalty)
    return _collect(state, candidates, pad_id)


def _legal(size: int, allowed: Tensor | None, eos_id: int, pad_id: int, device: torch.device) -> Tensor:
    """What is added to the scores, 0 or -inf: [2, V], first without and then with the end token."""
    mask = torch.ones(size, dtype=torch.bool)
    if allowed is not None:
        mask.fill_(False)
        mask[: len(allowed)] = allowed.cpu()[:size]
    mask[[eos_id, pad_id]] = False
    legal = torch.zeros(2, size).masked_fill(~mask, NONE)
    legal[1, eos_id] = 0.0
    return legal.to(device)


@dataclass
class _State:
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
    def start(cls, items: int, groups: int, width: int, length: int, pad_id: int, device: torch.device) -> _State:
        tokens = torch.full((items, groups, width, length), pad_id, dtype=torch.long, device=device)
        nothing = torch.full((items, groups, width), NONE, device=device)
        first = nothing.clone()
        first[..., 0] = 0.0  # the beams of a group are equal at first: only one may choose
        return cls(tokens, first, first.clone(), tokens.clone(), nothing, nothing.clone())

    @property
    def items(self) -> int:
        return len(self.tokens)


def _choose(
    state: _State, scores: Tensor, step: int, eos_id: int, diversity_penalty: float, length_penalty: float
) -> Tensor:
    """One step of every group, in turn. scores: [n, G * W, V]. Returns the parent of every beam: [n, G * W]."""
    items, groups, width = state.ranking.shape
    size = scores.shape[-1]
    parents: list[Tensor] = []
    taken: list[Tensor] = []  # for each earlier group its tokens [n, W] ..
    costs: list[Tensor] = []  # .. and what they cost: nothing where the beam is dead
    for group in range(groups):
        own = scores[:, group * width : (group + 1) * width]
        ranking = own + state.ranking[:, group, :, None]
        if taken:
            tokens, cost = torch.cat(taken, dim=1), torch.cat(costs, dim=1)
            ranking.scatter_add_(2, tokens[:, None].expand(-1, width, -1), cost[:, None].expand(-1, width, -1))
        best, flat = ranking.flatten(1).topk(2 * width)  # [n, 2W], as W of them may be ends
        parent, token = flat // size, flat % size
        reached = state.scores[:, group].gather(1, parent) + scores.view(items, -1).gather(
            1, flat + group * width * size
        )
        ended = token == eos_id
        _finish(state, group, parent, best, reached, ended, (step + 1) ** length_penalty)
        live, place = best.masked_fill(ended, NONE).topk(width)
        parent, token = parent.gather(1, place), token.gather(1, place)
        state.tokens[:, group] = _rows(state.tokens[:, group], parent)
        state.tokens[:, group, :, step] = token
        state.ranking[:, group], state.scores[:, group] = live, reached.gather(1, place)
        taken.append(token)
        costs.append((live > NONE) * -diversity_penalty)
        parents.append(parent + group * width)
    return torch.cat(parents, dim=1)


def _finish_all(state: _State, ends: Tensor, divisor: float) -> None:
    """The longest sequences end here. ends: [n, G, W], log-probability of the end token."""
    items, groups, width = ends.shape
    everyone = torch.arange(width, device=ends.device).expand(items, -1)
    for group in range(groups):
        ranking, scores = state.ranking[:, group] + ends[:, group], state.scores[:, group] + ends[:, group]
        ranking, order = ranking.sort(dim=1, descending=True, stable=True)
        ended = torch.ones_like(ranking, dtype=torch.bool)
        _finish(state, group, everyone.gather(1, order), ranking, scores.gather(1, order), ended, divisor)


def _finish(
    state: _State, group: int, parent: Tensor, ranking: Tensor, scores: Tensor, ended: Tensor, divisor: float
) -> None:
    """Move the ends among a group's W best into its finished sequences, of which the W best are kept."""
    width = state.ranking.shape[-1]
    valid = ended[:, :width] & (ranking[:, :width] > NONE)
    ranking = (ranking[:, :width] / divisor).masked_fill(~valid, NONE)
    scores = (scores[:, :width] / divisor).masked_fill(~valid, NONE)
    tokens = _rows(state.tokens[:, group], parent[:, :width])
    best, place = torch.cat([state.done_ranking[:, group], ranking], dim=1).topk(width)
    state.done_tokens[:, group] = _rows(torch.cat([state.done_tokens[:, group], tokens], dim=1), place)
    state.done_scores[:, group] = torch.cat([state.done_scores[:, group], scores], dim=1).gather(1, place)
    state.done_ranking[:, group] = best


def _collect(state: _State, candidates: int, pad_id: int) -> tuple[Tensor, Tensor]:
    """Finished sequences of all groups, best score first, each once."""
    tokens, scores = state.done_tokens.flatten(1, 2), state.done_scores.flatten(1)
    scores, place = scores.sort(dim=1, descending=True, stable=True)
    tokens = _rows(tokens, place)
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)  # [n, candidates, candidates]
    earlier = torch.ones(candidates, candidates, dtype=torch.bool, device=tokens.device).tril(-1)
    scores = scores.masked_fill((same & earlier).any(-1), NONE)
    scores, place = scores.sort(dim=1, descending=True, stable=True)
    return _rows(tokens, place).masked_fill((scores == NONE)[..., None], pad_id), scores


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values[i, index[i, j]]: [n, A, T], [n, B] -> [n, B, T]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
