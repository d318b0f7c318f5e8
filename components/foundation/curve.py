"""A shop as if few of its users were known: who answers then, and how well, on one fixed set of users who ask.

shop = Young(learned, valid, owners, asked, core=5, masked=True)
ranks = [shop.ranks(drawn(800, 30, draw, seed=17), foundation) for draw in range(5)]      # way -> ranks, five draws
point([each["few_shot"] for each in ranks], [each["text"] for each in ranks])      # mean, draws, interval over users
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import BadInput
from components.foundation.foundation import Foundation
from components.foundation.judging import Ranks
from components.foundation.tiers import Tier
from components.foundation.trial import FEW_SHOT, FIXED, FOUNDATION, OWN, Own, trial
from components.foundation.weights import preset
from components.ranking.lists import Held
from components.ranking.training import gains, paired
from components.sampling import derive
from components.storage.ragged import Ragged
from components.voices.learned import Learned

WAYS = {
    **{"text": "text_words", "graph": "graph", "graph_text": FIXED},
    **{"foundation": FOUNDATION, "own_ranker": OWN, "few_shot": FEW_SHOT},
}
"""Way -> contender of a trial (trial.py): TF-IDF of the history, the graph, both with the weights of the sources, the
foundation ranker in the largest tier that the users allow, the ranker that their lists teach, and both in one."""


@dataclass(frozen=True)
class Young:
    """A shop whose users are drawn from."""

    learned: Learned
    """Everybody's training histories."""
    valid: Held
    """Validation targets, by which a ranker's epoch is chosen."""
    owners: NDArray[np.int64]
    """[histories of `valid`] whose they are, as rows of the training histories."""
    asked: Held
    """Who asks, whoever is known; no one learns from these targets."""
    core: int
    masked: bool

    def ranks(
        self, rows: NDArray[np.int64], foundation: Foundation | None, *, own: bool = True, halves: Sequence[int] = ()
    ) -> dict[str, Ranks]:
        """Way -> ranks of what is asked, where the users `rows` are all that are known; with nobody, texts alone.

        own: also what the known users teach, where one of them has a validation target. halves: ways few_shot_HALF.
        """
        some = self.learned.of_users(rows)
        tier: Tier = "stream" if len(rows) else "text_only"
        kept = np.flatnonzero(np.isin(self.owners, rows))
        days = Ragged(self.valid.histories.offsets, self.valid.days).take(kept).values
        known = Held(self.valid.histories.take(kept), days, self.valid.targets[kept])
        teaches = Own(known, tuple(halves)) if own and len(kept) else None
        ask: dict[str, Any] = {"core": self.core, "masked": self.masked, "own": teaches, "tiers": (tier,)}
        found = trial(some, self.asked, foundation, preset(), **ask)[tier].ranks
        ways = WAYS | {f"few_shot_{half}": f"{FEW_SHOT}_{half}" for half in halves}
        return {way: found[name] for way, name in ways.items() if name in found}


def drawn(users: int, count: int, draw: int, seed: int) -> NDArray[np.int64]:
    """[count] the users of a draw, sorted; a larger count holds the smaller ones."""
    return np.sort(np.random.default_rng(derive(seed, "curve", draw)).permutation(users)[:count])


def number_of(asked: str, users: int) -> int:
    """30, 10% or all, of so many users. Raises `BadInput` for anything else."""
    if asked == "all":
        return users
    digits = asked.removesuffix("%")
    if not digits.replace(".", "", 1).isdecimal() or ("." in digits and digits == asked):
        mend = "give numbers of users, shares such as 10%, or all"
        raise BadInput(f"{asked!r} is no number of users", where="--curve", mend=mend)
    return round(users * float(digits) / 100) if digits != asked else int(digits)


def sizes(asked: Sequence[str], users: int) -> list[int]:
    """Each number of users once, in order. Raises `BadInput` for one that there are not."""
    found = sorted({number_of(each, users) for each in asked})
    if found and found[-1] > users:
        raise BadInput(
            f"a curve over {found[-1]:,} users is asked for, of {users:,} that the shop has after `clean`",
            where="--curve",
            mend=f"give numbers up to {users}, or all",
        )
    return found


def point(draws: Sequence[Ranks], text: Sequence[Ranks]) -> dict[str, Any]:
    """NDCG@10 as the mean over draws, with the 95 % interval over users of that mean, and of each draw; `over_text`:
    the difference to the same draws of the way `text`, paired over users, and its interval."""
    gained, beside = (np.stack([gains(each) for each in of_way]) for of_way in (draws, text))
    mean, low, high = paired(gained.mean(axis=0))
    found: dict[str, Any] = {"ndcg_at_10": mean, "low": low, "high": high}
    return {name: round(each, 6) for name, each in found.items()} | {
        "draws": [round(float(each), 6) for each in gained.mean(axis=1)],
        "over_text": [round(each, 6) for each in paired((gained - beside).mean(axis=0))],
    }
