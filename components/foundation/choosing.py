"""Who answers where the shop's own histories are known: what others taught, or a method without training that is better
in this shop by its own past.

    answers = choose(learned, foundation, preset(), core=5, masked=True)
    answers.name                                           # "foundation", or "item_graph" in a shop of films
    as_chosen(trial(...)["stream"], answers)               # the table's ours is who answers

The last event of every history that `learned` has is asked for, of voices that do not know it (as those lists are that
teach a ranker); no target of anybody else is looked at, so that the choice may stand in a table of them. What others
taught is left only for what is better beyond chance: the best of several is flattered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from components.foundation.foundation import Foundation
from components.foundation.judging import Judged
from components.foundation.tiers import ENCODER, Tier
from components.foundation.trial import FIXED, FOUNDATION, WITHOUT_VIEWS, trial
from components.progress import Progress
from components.ranking.teaching import held_out
from components.ranking.training import gains, paired
from components.voices.learned import Learned

TIER: Tier = "stream"
"""Only there are histories to choose by."""
USERS = 1000
"""Histories that choose, at most."""
LEAST = 100
"""Fewer say nothing."""
CHOSEN = "chosen"
"""Name of the contender that is who answers."""
_NO_CHOICE = ("repeat_last", ENCODER, WITHOUT_VIEWS)
"""Contenders that are no voices a recommender can be saved of, or that differ from ours in a view alone."""


@dataclass(frozen=True)
class Chosen:
    """Who answers, and by what."""

    name: str
    """Of a contender: `foundation`, `fixed_weights` or a rival."""
    ours: str
    """Who would answer where nothing is better."""
    asked: int = 0
    """Histories that chose; 0: too few, so that nothing was chosen."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Contender -> NDCG@10 of their last events."""

    def in_words(self) -> str:
        """A line for a terminal."""
        if not self.asked:
            return f"answers  {self.ours}: fewer than {LEAST} histories, too few to choose by"
        by = f"NDCG@10 of the last events of {self.asked:,} histories: {self.ours} {self.figures[self.ours]:.4f}"
        if self.name == self.ours:
            return f"answers  {self.ours}; no method without training is better here beyond chance ({by})"
        return (
            f"answers  {self.name}, which is better here than {self.ours} ({by}, its own {self.figures[self.name]:.4f})"
        )


def choose(
    learned: Learned,
    foundation: Foundation | None,
    weights: Mapping[Tier, Mapping[str, float]],
    *,
    core: int,
    masked: bool,
    progress: Progress | None = None,
) -> Chosen:
    """By at most `USERS` histories; ours where there are fewer than `LEAST`. See `trial` for the rest."""
    left, held = held_out(learned)
    asked = held.some(USERS, learned.seed)
    if len(asked.targets) < LEAST:
        ours = FIXED if foundation is None else FOUNDATION
        return Chosen(ours, ours)
    found = trial(left, asked, foundation, weights, core=core, masked=masked, tiers=(TIER,), progress=progress)[TIER]
    return Chosen(better(found), found.ours, found.users, found.figures)


def better(found: Judged) -> str:
    """The best contender where ours is behind it beyond chance, else ours."""
    able = [name for name in found.figures if name not in _NO_CHOICE]
    best = max(able, key=lambda name: found.figures[name])
    return best if best != found.ours and found.differences[best][2] < 0 else found.ours


def as_chosen(found: Judged, chosen: Chosen) -> Judged:
    """The same targets, ours being who was chosen without them: a contender more, called `CHOSEN`."""
    ranks = {**found.ranks, CHOSEN: found.ranks[chosen.name]}
    figures = {**found.figures, CHOSEN: found.figures[chosen.name]}
    own = gains(ranks[CHOSEN])
    differences = {name: paired(own - gains(each)) for name, each in found.ranks.items()}
    return replace(found, ours=CHOSEN, figures=figures, differences=differences, ranks=ranks, answers=chosen.name)
