"""A young shop's own ranker: what its own lists taught and the foundation ranker, in one.

taught = few_shot(foundation, learned, Held(histories, days, validation_targets), params.rank, params.voices, core=5)

Both are taught by softmax over a user's candidates, so that their scores are log-probabilities but for a constant of
the list, and a sum with weights is a mean of the two. The own one counts n / (n + half), n being how many lists taught
it: ten lists say next to nothing, ten thousand all. The foundation ranker is two in one itself, of the shop's stream
and of its texts alone: the stream counts d / (d + young), d being the events an item. What comes of it is an ordinary
ranker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.foundation.catalogue import Readers
from components.foundation.encoder import with_encoder
from components.foundation.foundation import Foundation
from components.foundation.standard import Standard
from components.foundation.tiers import ABSENT, Tier, rank_settings
from components.progress import Progress
from components.ranking.candidates import summary_features
from components.ranking.inference import Layers
from components.ranking.lists import Held, Lists
from components.ranking.ranker import Kind, Ranker
from components.ranking.reading import Reader, features
from components.ranking.teaching import Choice, Taught, choose, held_out
from components.ranking.training import gains, paired
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.voices.learned import Learned

TIER: Tier = "stream"
"""Whoever has validation targets has histories."""


def few_shot(
    foundation: Foundation,
    learned: Learned,
    valid: Held,
    chosen: Rank,
    voices: Voices,
    *,
    core: int,
    progress: Progress | None = None,
) -> Taught:
    """With the foundation ranker's voices and features; the own one learns as `chosen` says, but for its voices."""
    read = rank_settings(TIER, foundation.chosen)
    same = {name: getattr(read, name) for name in ("voices", "evidence", "candidates", "newest", "hidden")}
    rank = replace(chosen, **same, shared=[], encoders={})
    learned = with_encoder(learned, foundation.chosen, progress)
    left, inner = held_out(learned)
    before = Readers.build(left, replace(foundation.chosen, standard_users=1), voices, core=core, tiers=(TIER,))
    readers = Readers.build(learned, foundation.chosen, voices, core=core, tiers=(TIER,))
    reader = readers.readers[TIER]
    lists = Lists.read(before.readers[TIER], inner.some(rank.most_users, learned.seed), progress)
    asked = Lists.read(reader, valid.some(rank.most_users, learned.seed), progress)
    ranker = of_sources(foundation, reader, readers.standards[TIER])
    how: dict[str, Any] = {"seed": learned.seed, "masked": learned.catalogue.drop_repeats, "progress": progress}
    return Taught(beside(ranker, lists, asked, rank, half=foundation.chosen.half, **how), reader, readers.voices)


def of_sources(foundation: Foundation, reader: Reader, standard: Standard) -> Ranker:
    """The foundation ranker of a young shop: in the tier `TIER` and by texts alone, of the same candidates."""
    ranker, events = foundation.ranker(TIER, reader, standard), math.expm1(standard.density)
    if not foundation.chosen.young:
        return ranker
    return mixed(ranker, by_texts(foundation, reader, standard), events / (events + foundation.chosen.young))


def by_texts(foundation: Foundation, reader: Reader, standard: Standard) -> Ranker:
    """As the tier `text_only` has it, over the features of the tier `TIER`: what only histories know is missing, the
    rest in the sources' measure, but for the places among all voices, which are other ones here than there."""
    texts = features(rank_settings("text_only", foundation.chosen))
    among_all = {each.name for each in summary_features()}
    place = {each.name: at for at, each in enumerate(texts) if each.name not in among_all}
    measure = [np.array(each) for each in (standard.mean, standard.deviation)]
    for at, each in enumerate(reader.features):
        if each.name in place:
            for own, theirs in zip(measure, foundation.text_measure, strict=True):
                own[at] = theirs[place[each.name]]
    present = standard.present - ABSENT["text_only"]
    return foundation.ranker(TIER, reader, Standard(measure[0], measure[1], present))


def beside(
    theirs: Ranker,
    lists: Lists,
    valid: Lists,
    rank: Rank,
    *,
    half: float,
    seed: int,
    masked: bool,
    progress: Progress | None = None,
) -> Choice:
    """`theirs` and what `lists` teach, with the epoch that `valid` chooses; `theirs` alone where there is no list."""
    ranker, epochs = theirs, dict[Kind, list[int]]()
    if len(lists):
        own = choose([lists], valid, rank, seed=seed, masked=masked, progress=progress)
        ranker, epochs = mixed(own.ranker, theirs, len(lists) / (len(lists) + half)), own.epochs
    kinds: tuple[Kind, ...] = ("network", "sum")
    ranks = {kind: valid.ranks(ranker.scores(valid.columns, kind), masked=masked) for kind in kinds}
    return Choice(ranker, ranks, epochs, paired(gains(ranks["network"]) - gains(ranks["sum"])))


def mixed(own: Ranker, theirs: Ranker, share: float) -> Ranker:
    """Scores are share * own + (1 - share) * theirs, but for a constant of the list; of networks and of sums alike."""
    networks = len(own.networks) + len(theirs.networks)  # a ranker takes their mean

    def scaled(part: Sequence[Layers], weight: float) -> list[Layers]:
        return [_times(each, weight * networks / len(part)) for each in part]

    measure = own.linear.deviation / theirs.linear.deviation
    weight = share * own.linear.last + (1.0 - share) * theirs.linear.last * measure
    linear = Layers.of({**own.linear.state, "layers.0.weight": weight[None].astype(np.float32)})
    both = (*scaled(own.networks, share), *scaled(theirs.networks, 1.0 - share))
    return Ranker(own.features, both, linear, "network")


def _times(network: Layers, factor: float) -> Layers:
    """The network with scores that are so many times as large."""
    last = max((name for name in network.state if name.startswith("layers.")), key=lambda name: int(name.split(".")[1]))
    return Layers.of({**network.state, last: (network.state[last] * factor).astype(np.float32)})
