"""A young shop's own ranker: training begins at the foundation ranker, and the shop's own lists go on from there.

taught = few_shot(foundation, learned, Held(histories, days, validation_targets), params.rank, params.voices, core=5)

Ten lists move it by one step an epoch, ten thousand by a hundred, so that how much a shop's own users count grows with
them. Validation chooses the epoch; 0, the foundation ranker as it is, is one of them.
"""

from __future__ import annotations

from dataclasses import replace

from components.foundation.catalogue import Readers
from components.foundation.foundation import Foundation
from components.foundation.tiers import Tier, rank_settings
from components.progress import Progress
from components.ranking.lists import Held, Lists
from components.ranking.ranker import Ranker
from components.ranking.teaching import Choice, Taught, choose, held_out
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
    """Voices, features and start of the foundation ranker; how it learns is `chosen`, whose voices are not heard."""
    read = rank_settings(TIER, foundation.chosen)
    rank = replace(
        chosen,
        **{name: getattr(read, name) for name in ("voices", "evidence", "candidates", "newest", "hidden")},
        networks=len(foundation.networks),
        shared=[],
        encoders={},
    )
    left, inner = held_out(learned)
    before = Readers.build(left, replace(foundation.chosen, standard_users=1), voices, core=core, tiers=(TIER,))
    readers = Readers.build(learned, foundation.chosen, voices, core=core, tiers=(TIER,))
    reader = readers.readers[TIER]
    lists = Lists.read(before.readers[TIER], inner.some(rank.most_users, learned.seed), progress)
    asked = Lists.read(reader, valid.some(rank.most_users, learned.seed), progress)
    start = foundation.ranker(TIER, reader, readers.standards[TIER])
    masked = learned.catalogue.drop_repeats
    return Taught(goes_on(start, lists, asked, rank, seed=learned.seed, masked=masked), reader, readers.voices)


def goes_on(start: Ranker, lists: Lists, valid: Lists, rank: Rank, *, seed: int, masked: bool) -> Choice:
    """What `lists` make of `start`. What a user has is in no list where it is never right (`masked`): no source taught
    the start to leave it out."""
    return choose([lists.unowned() if masked else lists], valid, rank, seed=seed, masked=masked, start=start)
