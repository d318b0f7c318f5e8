"""A shop with few users: what teaches for it, and its own ranker, which begins at the foundation ranker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.foundation.foundation import Foundation
from components.foundation.school import thinned
from components.foundation.trial import FEW_SHOT, OWN, Own, trial
from components.foundation.weights import preset
from components.ranking.lists import Held
from components.ranking.teaching import held_out
from components.settings.foundation import Foundation as Settings
from components.storage.ragged import Ragged
from tests.foundation.conftest import Done
from tests.ranking.shops import shop


@pytest.fixture(scope="module")
def foundation(done: Done) -> Foundation:
    return Foundation.load(done.foundation)


def test_a_thinned_source_knows_no_other_user(foundation: Foundation) -> None:
    """Prevents: a young shop taught by counts of users whom nobody knows there; lists that are lost in the count."""
    learned, _ = shop(users=50)
    found = dict(thinned(learned, Settings(thinned=[5, 20, 50])))
    assert {users: len(some.histories) for users, some in found.items()} == {5: 5, 20: 20}
    rows = {tuple(row.tolist()) for row in learned.histories}
    assert {tuple(row.tolist()) for row in found[5].histories} <= rows
    assert found[5].counts.sum() == len(found[5].histories.values) == len(found[5].days)
    with pytest.raises(ValueError, match="smallest"):
        Settings(thinned=[0])
    lists = foundation.facts["lists"]["alpha"]  # 90 users: thinned to 30, too, where texts know nothing more
    assert foundation.chosen.thinned[0] == 30 and lists["stream"] > 90 >= lists["text_only"] > 0


@pytest.mark.parametrize(("users", "least"), [(10, "text_words"), (300, OWN)])
def test_few_users_begin_where_others_ended_and_many_say_more(foundation: Foundation, users: int, least: str) -> None:
    """Prevents: a ranker that ten lists spoil, and one that does not hear three hundred."""
    everybody, held = shop(users=600, items=40)
    left, valid = held_out(everybody)  # its last events are validation targets, `held` has those after them
    rows = np.arange(users)
    known = left.of_users(rows)
    own = Own(Held(known.histories, known.days, valid.targets[rows]))
    ask = {"core": 0, "masked": True, "own": own, "tiers": ("stream",)}
    judged = trial(known, held.some(200, seed=1), foundation, preset(), **ask)["stream"]  # type: ignore[arg-type]
    noise = 0.03 if least == OWN else 0.0
    assert judged.figures[FEW_SHOT] > judged.figures[least] - noise
    assert judged.figures[FEW_SHOT] > 0.2


def test_who_has_no_list_to_learn_from_has_the_start(foundation: Foundation) -> None:
    """Prevents: a shop that is refused for want of lists, though others taught a ranker for it."""
    learned, held = shop(users=30)
    short = learned.of_users(np.array([0]))
    one = replace(short, histories=Ragged.of([[int(short.histories.values[0])]]), known_days=short.days[:1])
    own = Own(Held(one.histories, one.days, held.targets[:1]))
    figures = trial(one, held, foundation, preset(), core=0, masked=True, own=own, tiers=("stream",))["stream"].figures
    assert OWN not in figures and figures[FEW_SHOT] == figures["foundation"] > 0
