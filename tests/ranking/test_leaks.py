"""On histories drawn by chance nothing can be known of what comes next: what a ranker finds there is a leak."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from components.ranking.features import COUNTS_AND_TIMES
from components.ranking.lists import Held, Lists
from components.ranking.reading import COUNTS, Reader
from components.ranking.teaching import teach
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from tests.ranking.shops import catalogue

K = 5
"""Of the k-core."""
RANK = Rank(voices=["popularity", "graph"], evidence=["graph"], candidates=2000, epochs=4, hidden=[24])
"""Popularity proposes every item, and its score is the count that the k-core gives away."""
SIZES = {"training": (700, 500, 7), "all": (1400, 1120, 4)}
"""Core -> users, items and items a user: such that many are left to ask, and, of all events, many are held out."""


def random_shop(core: Literal["all", "training"], seed: int) -> tuple[Learned, Held, Held]:
    """Different items a user, each equally likely, in the k-core of all events or of the training part; what can be
    learned, and who asks for validation and test items. Held-out items outside the core are not asked for."""
    draw = np.random.default_rng(seed)
    users, items, events = SIZES[core]
    rows = [draw.permutation(items)[:events] for _ in range(users)]
    inside = np.ones(items, bool)
    while True:
        counted = [row[inside[row]] if core == "all" else row[:-2][inside[row[:-2]]] for row in rows]
        few = inside & (np.bincount(np.concatenate(counted), minlength=items) < K)
        if not few.any():
            break
        inside &= ~few
    number = np.cumsum(inside) - 1
    past = [number[row[:-2][inside[row[:-2]]]] for row in rows]
    asked = [at for at, row in enumerate(rows) if len(past[at]) and inside[row[-2:]].all()]
    held = [np.array([number[rows[at][place]] for at in asked], np.int64) for place in (-2, -1)]
    prompts = (
        Ragged.of([past[at].tolist() for at in asked]),
        Ragged.of([[*past[at].tolist(), number[rows[at][-2]]] for at in asked]),
    )
    valid, test = (
        Held(each, np.full(len(each.values), np.nan), targets) for each, targets in zip(prompts, held, strict=True)
    )
    learned = Learned(catalogue(int(inside.sum())), Ragged.of([row.tolist() for row in past]), seed=seed)
    return learned, valid, test


def place_of_targets(core: Literal["all", "training"], seed: int, *, clipped: bool = True) -> tuple[float, float]:
    """Mean place of the test targets among all items that the user has not, from 0 (first) to 1 (last), and its
    standard error. By chance it is one half."""
    learned, valid, test = random_shop(core, seed)
    taught = teach(learned, valid, RANK, Voices(), core=K if clipped else 0)
    lists = Lists.read(taught.reader, test)
    ranks = lists.ranks(taught.choice.ranker.scores(lists.columns, "network"), masked=True)[lists.users]
    others = lists.lengths - np.add.reduceat(lists.own, lists.offsets[:-1], dtype=np.int64) - 1
    places = (ranks - 1) / others
    assert len(lists) > 100
    return float(places.mean()), float(places.std() / len(places) ** 0.5)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found_in_random_histories(seed: int) -> None:
    """Prevents: a feature that sees the target, what came after the prompt, or the order of items."""
    place, error = place_of_targets("training", seed)
    assert abs(place - 0.5) < 3.5 * error


def test_a_core_over_all_events_gives_targets_away() -> None:
    """Prevents: the test above passing because nothing could be found. An item with fewer than k training events must
    be a target; popularity knows counts, and that is the artefact of every published figure."""
    place, error = place_of_targets("all", 1, clipped=False)
    assert place < 0.5 - 3.5 * error


def test_a_ranker_that_hears_counts_does_not_hear_those_below_the_core() -> None:
    """Prevents: popularity and recent popularity, which every foundation ranker hears, saying what the clipped counts
    beside them keep silent about."""
    place, error = place_of_targets("all", 1)
    assert abs(place - 0.5) < 3.5 * error
    learned, _, test = random_shop("all", 1)
    rank = replace(RANK, voices=["popularity", "recent", "graph"])
    reader = Reader.build(learned, rank, Voices(), core=K)
    (block, *_) = reader.blocks(test.histories, test.days)
    few = learned.counts[block.candidates.items] < K
    for at, each in enumerate(reader.features):
        if each.voice in COUNTS and not each.name.endswith(".rank"):
            told = block.columns[few & ~block.candidates.own & (block.candidates.owners == 0), at]
            assert len(told) > 10 and len(np.unique(told)) == 1, each.name


def test_no_column_tells_items_below_the_core_apart_by_counts_or_days() -> None:
    """Prevents: days since the first and the last event, which are the same of one event, and late of few: where counts
    were clipped alone, a test target's last event was further back than that of 54 % of the candidates (+/- .8)."""
    learned, _, test = random_shop("all", 1)
    draw = np.random.default_rng(1)
    learned = replace(learned, known_days=_days(draw, learned.histories))
    rank = replace(RANK, voices=["popularity", "recent", "graph"])
    reader = Reader.build(learned, rank, Voices(), core=K)
    (block, *_) = reader.blocks(test.histories, _days(draw, test.histories))
    few = learned.counts[block.candidates.items] < K
    first = ~block.candidates.own & (block.candidates.owners == 0)
    for at, each in enumerate(reader.features):
        if each.group == COUNTS_AND_TIMES:
            assert len(np.unique(block.columns[few & first, at])) == 1, each.name
    told = [at for at, each in enumerate(reader.features) if each.name in ("count", "age", "since_last")]
    assert all(len(np.unique(block.columns[first, at])) > 1 for at in told), "or there would be nothing to see"


def _days(draw: np.random.Generator, histories: Ragged) -> NDArray[np.float64]:
    """Of each history rising days of two years, the newest on the last one."""
    days = 16_000.0 + draw.integers(0, 730, len(histories.values))
    days[histories.offsets[1:][histories.lengths > 0] - 1] = 16_729.0
    return days[np.lexsort((days, histories.owners))]
