"""A shop with few users: what teaches for it, and its own ranker, which begins at the foundation ranker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.foundation.catalogue import Readers
from components.foundation.few_shot import by_texts, of_sources
from components.foundation.foundation import Foundation
from components.foundation.school import thinned
from components.foundation.tiers import ABSENT, group_of
from components.foundation.trial import FEW_SHOT, OWN, Own, trial
from components.foundation.weights import preset
from components.ranking.candidates import summary_features
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
    ask = {"core": 0, "masked": True, "own": own, "tiers": ("stream",)}
    bare = replace(foundation, chosen=replace(foundation.chosen, young=0.0))
    figures = trial(one, held, bare, preset(), **ask)["stream"].figures  # type: ignore[arg-type]
    assert OWN not in figures and figures[FEW_SHOT] == figures["foundation"] > 0


def test_the_fewer_events_the_more_texts_alone_say(foundation: Foundation) -> None:
    """Prevents: a graph of ten users that outvotes texts, texts in another measure than the sources had, and a saved
    ranker that is another one."""
    learned, held = shop(users=40)
    readers = Readers.build(learned, foundation.chosen, core=0)
    reader, standard = readers.readers["stream"], readers.standards["stream"]
    (block,) = reader.blocks(held.histories, held.days)
    stream, texts = foundation.ranker("stream", reader, standard), by_texts(foundation, reader, standard)
    events = len(learned.histories.values) / reader.items
    for young, share in ((0.0, 1.0), (events, 0.5), (1e9, 0.0)):
        both = of_sources(replace(foundation, chosen=replace(foundation.chosen, young=young)), reader, standard)
        for kind in ("network", "sum"):
            wanted = share * stream.scores(block.columns, kind) + (1 - share) * texts.scores(block.columns, kind)
            found = both.scores(block.columns, kind)
            assert np.ptp(found - wanted) < 1e-3 * np.ptp(wanted), "but for a constant of the list"
    changed = block.columns.copy()
    graph = [at for at, each in enumerate(reader.features) if group_of(each) in ABSENT["text_only"]]
    changed[:, graph] = 7.0
    assert (texts.scores(changed) == texts.scores(block.columns)).all(), "what only histories know"
    small = readers.readers["text_only"]
    alone = foundation.ranker("text_only", small, readers.standards["text_only"])
    shared = {each.name: at for at, each in enumerate(reader.features)}
    among_all = {each.name for each in summary_features()}
    of_both = [(at, shared[each.name]) for at, each in enumerate(small.features) if each.name not in among_all]
    assert all(alone.linear.mean[at] == texts.linear.mean[there] for at, there in of_both)
