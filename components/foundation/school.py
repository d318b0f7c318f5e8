"""What several catalogues teach: a foundation ranker and, where asked for, the fixed weights of every tier.

foundation, weights = taught_by([("beauty", learned, 5), ("toys", other, 5)], Foundation(), seed=17, weight_users=1000)

Both learn to find the last event of every training history, with voices that do not know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from components.foundation.catalogue import Readers
from components.foundation.encoder import with_encoder
from components.foundation.foundation import Foundation
from components.foundation.teaching import lessons_of, teach
from components.foundation.tiers import TIERS, Tier
from components.foundation.weights import choose, source_of
from components.progress import Progress
from components.ranking.teaching import held_out
from components.sampling import derive
from components.settings import foundation as settings
from components.voices.learned import Learned

KNOWING: tuple[Tier, ...] = ("statistics", "stream")
"""Tiers in which it counts how many users are known."""


def thinned(learned: Learned, chosen: settings.Foundation) -> Iterator[tuple[int, Learned]]:
    """(how many, what is known) where so many users, drawn by the seed, are all; only sizes that leave some out."""
    for users in chosen.thinned:
        if users < len(learned.histories):
            order = np.random.default_rng(derive(learned.seed, "thinned", users)).permutation(len(learned.histories))
            yield users, learned.of_users(np.sort(order[:users]))


def taught_by(
    sources: Iterable[tuple[str, Learned, int]],
    chosen: settings.Foundation,
    *,
    seed: int,
    weight_users: int = 0,
    progress: Progress | None = None,
) -> tuple[Foundation, dict[Tier, dict[str, float]]]:
    """From (name, training histories, k of a k-core that counted held-out events) of each source, one after the other.

    weight_users: by how many of each source the weights are chosen (0: none are). Raises `BadInput` where no source has
    anything to learn from.
    """
    lessons, scored = [], []
    for name, learned, core in sources:
        left, held = held_out(with_encoder(learned, chosen, progress))
        readers = Readers.build(left, chosen, core=core)
        lessons += lessons_of(name, readers, held, chosen, seed=seed, progress=progress)
        for users, some in thinned(left, chosen):
            few = replace(chosen, most_users=max(1, chosen.most_users // len(chosen.thinned)))
            young = Readers.build(some, few, core=core, tiers=KNOWING)
            lessons += lessons_of(name, young, held, few, seed=derive(seed, users), progress=progress)
        if weight_users:
            scored.append(source_of(readers, left, held, most=weight_users))
    weights = {tier: choose(scored, tier) for tier in TIERS} if weight_users else {}
    return teach(lessons, chosen, seed=seed, progress=progress), weights
