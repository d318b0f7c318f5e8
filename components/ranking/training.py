"""Teaches a network lists: softmax cross-entropy over a user's candidates (ListNet with one right answer); the epoch
that is best on the validation lists is kept.

Random numbers are a function of seed, epoch and step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from components.networks.cpu import use_cpu_kernels
from components.progress import Progress
from components.ranking.lists import Lists
from components.ranking.network import ListNetwork
from components.sampling import derive
from components.settings.ranking import Rank
from components.storage.ragged import slices

K = 10
_SURE = 1.96
"""Standard errors of a mean difference on either side of a 95 % interval."""


@dataclass(frozen=True)
class Trained:
    network: ListNetwork
    epoch: int
    """The best epoch, from 1."""
    ranks: NDArray[np.int64]
    """[asked] of the validation targets, in that epoch."""

    @property
    def ndcg(self) -> float:
        return float(gains(self.ranks).mean())


def gains(ranks: NDArray[np.int64], k: int = K) -> NDArray[np.float64]:
    """[asked] NDCG at k of one right item: 1 / log2(1 + rank), 0 without a rank up to k."""
    return np.where((ranks > 0) & (ranks <= k), 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)


def paired(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over users and its 95 % interval (of thousands of users, so that a mean is as good as normal)."""
    mean, users = float(differences.mean()), max(len(differences), 2)
    error = _SURE * float(differences.std()) / (users - 1) ** 0.5
    return mean, mean - error, mean + error


def train(
    lists: Sequence[Lists],
    valid: Lists,
    chosen: Rank,
    *,
    hidden: Sequence[int],
    rate: float,
    seed: int,
    masked: bool,
    progress: Progress | None = None,
) -> Trained:
    """Learn from all of `lists`, whose columns are those of `valid`."""
    torch.manual_seed(derive(seed, "rank", "start"))
    network = use_cpu_kernels(ListNetwork(valid.columns.shape[1], hidden, chosen.dropout))
    network.standardise(lists[0].columns)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=chosen.weight_decay, fused=True)
    where = np.concatenate(
        [np.stack([np.full(len(each), at), np.arange(len(each))], 1) for at, each in enumerate(lists)]
    )
    steps = -(-len(where) // chosen.batch_users) * chosen.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1.0 - step / max(steps, 1), 0.0))
    best: Trained | None = None
    for epoch in (progress or Progress()).track(range(1, chosen.epochs + 1), "rank"):
        network.train()
        order = np.random.default_rng(derive(seed, "rank", "order", epoch)).permutation(len(where))
        for step, start in enumerate(range(0, len(order), chosen.batch_users)):
            torch.manual_seed(derive(seed, "rank", epoch, step))
            loss = listwise_loss(network, lists, where[order[start : start + chosen.batch_users]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        ranks = valid.ranks(network.scores(valid.columns), masked=masked)
        if best is None or gains(ranks).mean() > best.ndcg:
            state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            kept = ListNetwork(valid.columns.shape[1], hidden, chosen.dropout)
            kept.load_state_dict(state)
            best = Trained(kept, epoch, ranks)
    assert best is not None
    return best


def listwise_loss(
    network: Callable[[torch.Tensor], torch.Tensor], lists: Sequence[Lists], chosen: NDArray[np.int64]
) -> torch.Tensor:
    """Mean over users of -log softmax(scores)[target]; `chosen` [users, 2] are list and user."""
    columns, lengths, right = [], [], []
    for at, each in enumerate(lists):
        users = chosen[chosen[:, 0] == at, 1]
        _, _, part = slices(each.columns, each.offsets[users], each.lengths[users])
        columns.append(part)
        lengths.append(each.lengths[users])
        right.append(each.right[users])
    length = np.concatenate(lengths)
    rows = np.repeat(np.arange(len(length)), length)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(length) - length, length)
    scores = network(torch.from_numpy(np.concatenate(columns)).float())  # numpy takes four times as long to widen
    padded = scores.new_full((len(length), int(length.max())), -torch.inf)
    padded[torch.from_numpy(rows), torch.from_numpy(places)] = scores
    return functional.cross_entropy(padded, torch.from_numpy(np.concatenate(right)))
