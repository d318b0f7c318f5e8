"""Teaches a foundation ranker on several catalogues: each lists, in every tier, the candidates of a next item that its
voices do not know, and groups of features are missing by chance.

left, held = held_out(learned)                             # of each source
lessons += lessons_of("beauty", Readers.build(left, chosen, core=5), held, chosen, seed=17)
foundation = teach(lessons, chosen, seed=17)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from components.errors import BadInput
from components.foundation.catalogue import Readers
from components.foundation.foundation import Foundation, all_features
from components.foundation.standard import Measure, Standard
from components.foundation.tiers import FLAGS, GROUPS, Group, Tier, group_of
from components.progress import Progress
from components.ranking.lists import Held, Lists
from components.ranking.network import ListNetwork
from components.ranking.training import listwise_loss
from components.sampling import derive
from components.settings import foundation as settings

_SUM_RATE = 5.0
"""The sum learns at so many times the networks' rate, as in components/ranking/teaching.py."""


@dataclass(frozen=True)
class Lesson:
    """Lists of one catalogue and tier as its reader has them, and the catalogue's measure."""

    source: str
    tier: Tier
    lists: Lists
    standard: Standard


def lessons_of(
    source: str,
    readers: Readers,
    held: Held,
    chosen: settings.Foundation,
    *,
    seed: int,
    progress: Progress | None = None,
) -> list[Lesson]:
    """A lesson for each tier; `readers` know no target of `held`, such as the last event of every training history."""
    some = held.some(chosen.most_users, seed)
    return [
        Lesson(source, tier, Lists.read(reader, some, progress), readers.standards[tier])
        for tier, reader in readers.readers.items()
    ]


def prepared(lists: Lists, standard: Standard, chosen: settings.Foundation) -> Lists:
    """The lists with `all_features` and flags as columns, without items that the user has already."""
    lists = lists.unowned()
    columns = np.zeros((len(lists.columns), len(all_features(chosen)) + len(FLAGS)), np.float16)
    place = {each.name: at for at, each in enumerate(all_features(chosen))}
    for at, each in enumerate(lists.features):
        if group_of(each) in standard.present:
            part = lists.columns[:, at].astype(np.float32)
            columns[:, place[each.name]] = (part - standard.mean[at]) / standard.deviation[at]
    columns[:, len(place) :] = standard.flags()
    return replace(lists, columns=columns)


def teach(
    lessons: Sequence[Lesson], chosen: settings.Foundation, *, seed: int, progress: Progress | None = None
) -> Foundation:
    """Learn from all lessons alike. Raises `BadInput` where they hold no list at all."""
    if not any(len(each.lists) for each in lessons):
        raise BadInput(
            "there is nothing to learn from: in no source a history goes on with an item that a voice proposes",
            where="sources",
            mend="give catalogues whose users have at least three interactions",
        )
    measure = text_measure(lessons)
    lists = [prepared(each.lists, measured(each, measure), chosen) for each in lessons]
    networks = [
        _learned(lists, chosen, chosen.hidden, chosen.lr, derive(seed, "foundation", number), progress)
        for number in range(chosen.networks)
    ]
    linear = _learned(lists, chosen, (), _SUM_RATE * chosen.lr, derive(seed, "foundation", "sum"), progress)
    return Foundation(tuple(networks), linear, chosen, measure, {"seed": seed, "lists": _counted(lessons)})


def text_measure(lessons: Sequence[Lesson]) -> Measure:
    """Mean and deviation of the features of the tier `text_only`, over all sources."""
    some = [each for each in lessons if each.tier == "text_only"]
    columns = [each.lists.columns[~each.lists.own] for each in some]
    return Standard.pooled(some[0].lists.features, columns, [each.standard.present for each in some])


def measured(lesson: Lesson, measure: Measure) -> Standard:
    """A lesson's standard, by the common measure where no history may measure."""
    return lesson.standard.measured_by(measure) if lesson.tier == "text_only" else lesson.standard


def _counted(lessons: Sequence[Lesson]) -> Mapping[str, Mapping[str, int]]:
    """Source -> tier -> lists."""
    found: dict[str, dict[str, int]] = {}
    for each in lessons:
        tiers = found.setdefault(each.source, {})
        tiers[each.tier] = tiers.get(each.tier, 0) + len(each.lists)
    return found


def _learned(
    lists: Sequence[Lists],
    chosen: settings.Foundation,
    hidden: Sequence[int],
    rate: float,
    seed: int,
    progress: Progress | None,
) -> ListNetwork:
    """Random numbers are a function of seed, epoch and step."""
    torch.manual_seed(derive(seed, "start"))
    network = ListNetwork(lists[0].columns.shape[1], hidden, chosen.dropout)  # standardised already
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=chosen.weight_decay, fused=True)
    where = np.concatenate(
        [np.stack([np.full(len(each), at), np.arange(len(each))], 1) for at, each in enumerate(lists)]
    )
    steps = -(-len(where) // chosen.batch_users) * chosen.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1.0 - step / max(steps, 1), 0.0))
    columns_of = _columns_of(chosen)
    network.train()
    for epoch in (progress or Progress()).track(range(1, chosen.epochs + 1), "foundation"):
        draw = np.random.default_rng(derive(seed, "order", epoch))
        order = draw.permutation(len(where))
        for step, start in enumerate(range(0, len(order), chosen.batch_users)):
            torch.manual_seed(derive(seed, epoch, step))
            lacking = {group for group in GROUPS if draw.random() < chosen.drop_groups}
            if "times" in lacking:  # a shop that knows no times knows none of who asks
                lacking.add("own times")
            gone = [columns_of[group] for group in lacking]
            loss = listwise_loss(_Without(network, gone), lists, where[order[start : start + chosen.batch_users]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _columns_of(chosen: settings.Foundation) -> dict[Group, NDArray[np.int64]]:
    """Group -> its columns, its flag among them."""
    groups = [group_of(each) for each in all_features(chosen)]
    return {
        group: np.array([*(at for at, each in enumerate(groups) if each == group), len(groups) + number])
        for number, group in enumerate(GROUPS)
    }


class _Without:
    """A network that some columns are kept from."""

    def __init__(self, network: ListNetwork, gone: Sequence[NDArray[np.int64]]) -> None:
        self.network, self.gone = network, gone

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        for each in self.gone:
            columns[:, each] = 0.0
        scores: torch.Tensor = self.network(columns)
        return scores
