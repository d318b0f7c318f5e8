"""The same recommenders under the other order of ties, beside the headline (docs/ties.md).

Baselines are built anew from the training part of the other order, so they are judged on every user. The model is not
trained twice. Under the other order it is asked only where that is honest: where no item that is right then was among
those of this user that it was trained on. These users alone are compared, under both orders; the others are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.contenders import HEADLINE, MODEL
from components.evaluation.metrics import per_user, ranks
from components.settings.params import Ties

if TYPE_CHECKING:
    from components.recommender.interface import Recommender

Ask = Callable[[Cases, str, "Recommender"], np.ndarray]
"""Cases, name and recommender -> lists of item positions [users, depth]."""


@dataclass(frozen=True)
class OtherTies:
    """What another `clean.ties` would make of the same interactions."""

    order: Ties
    asked: Cases
    """Of the same catalogue."""
    recommenders: Mapping[str, Recommender]
    """The model as it is; baselines that learned from `asked.train`."""
    voices: Mapping[str, Recommender] = field(default_factory=dict)
    """The ranker over voices that learned from `asked.train`, and these."""


def compare_orders(
    ties: Ties, asked: Cases, lists: Mapping[str, np.ndarray], other: OtherTies | None, ask: Ask, k: int
) -> dict[str, Any]:
    """Recall and NDCG at `k` under both orders: of the baselines for `all` users, of everybody for those `held_out`.

    asked, lists: the cases of the headline, and what was recommended for them. Where times do not tie there is no
    other order (None).
    """
    if other is None:
        return {"order": ties, "other": None}
    mine, theirs = same_users(asked, other.asked)
    here, there = asked.some(mine), other.asked.some(theirs)
    changed = np.array(
        [there.prompts.row(user).tolist() != here.prompts.row(user).tolist() for user in range(len(mine))]
    )
    held_out = np.array([_held_out(here, there, user) for user in range(len(mine))])
    again = np.flatnonzero(held_out & changed)
    found = {name: ask(there, name, voice) for name, voice in other.recommenders.items() if name != MODEL}
    # The model answers the same prompt with the same list.
    found[MODEL] = lists[MODEL][mine].copy()
    if len(again):
        found[MODEL][again] = ask(there.some(again), MODEL, other.recommenders[MODEL])
    places = {
        ties: {name: ranks(listed[mine], here.targets, here.also) for name, listed in lists.items()},
        other.order: {name: ranks(listed, there.targets, there.also) for name, listed in found.items()},
    }
    everyone = np.ones(len(mine), dtype=bool)
    return {
        "order": ties,
        "other": other.order,
        "users": len(mine),
        "users_with_another_prompt_or_target": int((changed | _other_targets(here, there)).sum()),
        "all": {order: _means(by_name, everyone, k, but=MODEL) for order, by_name in places.items()},
        "held_out": {
            "users": int(held_out.sum()),
            **{order: _means(by_name, held_out, k) for order, by_name in places.items() if held_out.any()},
        },
    }


def same_users(one: Cases, other: Cases) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the users that both have, in the same order."""
    number = {user: place for place, user in enumerate(other.user_ids)}
    pairs = [(place, number[user]) for place, user in enumerate(one.user_ids) if user in number]
    mine, theirs = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(mine, dtype=np.int64), np.array(theirs, dtype=np.int64)


def _held_out(here: Cases, there: Cases, user: int) -> bool:
    """Whether the model was not trained on any item of this user that is right under the other order."""
    assert here.trained is not None
    return set(there.right(user)).isdisjoint(here.prompts.row(user)[: here.trained[user]].tolist())


def _other_targets(here: Cases, there: Cases) -> np.ndarray:
    return np.array([set(here.right(user)) != set(there.right(user)) for user in range(len(here.user_ids))], dtype=bool)


def _means(
    places: Mapping[str, np.ndarray], users: np.ndarray, k: int, but: str | None = None
) -> dict[str, dict[str, float]]:
    wanted = [f"{metric}_at_{k}" for metric in HEADLINE]
    return {
        name: {metric: float(per_user(rank[users], [k])[metric].mean()) for metric in wanted}
        for name, rank in places.items()
        if name != but
    }
