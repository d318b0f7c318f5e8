"""All contenders of all tiers on one shop's targets: rivals, fixed weights, the foundation ranker and, where asked
for, a ranker that the shop taught itself.

found = trial(learned, held, foundation, preset(), core=5, masked=True)
found["text_only"].facts()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.foundation import few_shot
from components.foundation.catalogue import Readers
from components.foundation.encoder import with_encoder
from components.foundation.foundation import Foundation
from components.foundation.judging import Judged, Ranks, judged, ranks_of
from components.foundation.language import Language, WithLanguage
from components.foundation.rivals import rivals
from components.foundation.tiers import ABSENT, TIERS, Tier, rank_settings
from components.foundation.weights import language_weight, with_views
from components.progress import Progress
from components.ranking.features import COUNTS_AND_TIMES
from components.ranking.fusion import Fusion
from components.ranking.lists import Held, Lists
from components.ranking.teaching import Choice, choose, held_out
from components.settings import foundation as settings
from components.settings.ranking import Fusion as Weights
from components.voices.learned import Learned
from components.voices.load import build

FOUNDATION, FIXED, OWN, FEW_SHOT = "foundation", "fixed_weights", "taught_here", "few_shot"
LANGUAGE, WITHOUT_VIEWS = "fixed_weights_language", "without_views"
"""Names of contenders, beside those of the rivals."""


@dataclass(frozen=True)
class Own:
    """What a ranker of the shop's own is taught with."""

    valid: Held
    """By whom its epoch is chosen."""
    halves: tuple[int, ...] = ()
    """Contenders few_shot_HALF, by which `Foundation.half` is chosen on a source."""


def trial(
    learned: Learned,
    held: Held,
    foundation: Foundation | None,
    weights: Mapping[Tier, Mapping[str, float]],
    *,
    core: int,
    masked: bool,
    own: Own | None = None,
    language: Language | None = None,
    tiers: Sequence[Tier] = TIERS,
    progress: Progress | None = None,
) -> dict[Tier, Judged]:
    """Tier -> what came of it; ours is the foundation ranker, without one the fixed weights.

    `learned` knows no target of `held`. Everybody is asked the same users and ranks the whole catalogue, the user's own
    items left out where `masked`. `language`: a contender more, the fixed weights and what it adds to them.
    """
    chosen = settings.Foundation() if foundation is None else foundation.chosen
    read = with_encoder(learned, chosen, progress)
    readers = Readers.build(read, chosen, core=core, tiers=tuple(tiers))
    ask: dict[str, Any] = {"core": core, "masked": masked}
    taught = {} if own is None else _taught_here(read, readers, chosen, own, foundation, **ask)
    likenesses = {name: build(name, learned, readers.voices) for name in with_views({}, learned.views)}
    known: dict[str, Ranks] = {}
    found: dict[Tier, Judged] = {}
    for tier in tiers:
        reader = readers.readers[tier]
        against = rivals(tier, readers, read)
        known |= {name: ranks_of(scorer, held, masked=masked) for name, scorer in against.items() if name not in known}
        ranks = {name: known[name] for name in against}
        fixed = {FIXED: with_views(weights[tier], learned.views)}
        if learned.views:
            fixed[WITHOUT_VIEWS] = dict(weights[tier])
        by_weights = {
            name: Fusion.of(
                {**reader.voices, **likenesses}, learned.catalogue, Weights(weights=each, voices=readers.voices)
            )
            for name, each in fixed.items()
        }
        ranks |= {name: ranks_of(each, held, masked=masked) for name, each in by_weights.items()}
        if language is not None:
            both = WithLanguage(by_weights[FIXED], language, language_weight(language.kind))
            ranks[LANGUAGE] = ranks_of(both, held, masked=masked)
        if foundation is not None or own is not None:
            lists = Lists.read(reader, held, progress)
            if foundation is not None:
                ranker = foundation.ranker(tier, reader, readers.standards[tier])
                ranks[FOUNDATION] = lists.ranks(ranker.scores(lists.columns), masked=masked)
            for name, choice in taught.get(tier, {}).items():
                some = _known(lists, tier) if name == OWN else lists
                ranks[name] = some.ranks(choice.ranker.scores(some.columns), masked=masked)
        ours = FIXED if foundation is None else FOUNDATION
        found[tier] = judged(ranks, ours=ours, rivals=list(against))
    return found


def _taught_here(
    learned: Learned,
    readers: Readers,
    chosen: settings.Foundation,
    own: Own,
    foundation: Foundation | None,
    *,
    core: int,
    masked: bool,
) -> dict[Tier, dict[str, Choice]]:
    """Tier -> rankers over the same voices and features that the shop's own histories taught: the last event of each
    is the target, and the voices do not know it; validation chooses the epoch. From nothing, where a list has its
    target, and in the tier `few_shot.TIER` beside the foundation ranker."""
    left, inner = held_out(learned)
    few = replace(chosen, standard_users=1)  # such a ranker has its own standard
    before = Readers.build(left, few, core=core, tiers=tuple(readers.readers))
    found: dict[Tier, dict[str, Choice]] = {}
    for tier, reader in readers.readers.items():
        rank = rank_settings(tier, chosen)
        lists = Lists.read(before.readers[tier], inner.some(chosen.most_users, learned.seed))
        valid = Lists.read(reader, own.valid.some(chosen.most_users, learned.seed))
        ask: dict[str, Any] = {"seed": learned.seed, "masked": masked}
        found[tier] = {}
        if len(lists):
            found[tier][OWN] = choose([_known(lists, tier)], _known(valid, tier), rank, **ask)
        if foundation is not None and tier == few_shot.TIER:
            theirs = few_shot.of_sources(foundation, reader, readers.standards[tier])
            for half in own.halves or (chosen.half,):
                name = f"{FEW_SHOT}_{half}" if own.halves else FEW_SHOT
                found[tier][name] = few_shot.beside(theirs, lists, valid, rank, half=half, **ask)
    return found


def _known(lists: Lists, tier: Tier) -> Lists:
    """The lists without what the tier must not know."""
    return lists.without(groups=[COUNTS_AND_TIMES]) if "popularity" in ABSENT[tier] else lists
