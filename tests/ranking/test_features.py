"""Features against a slow reading of their definitions, and what they must not see."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from components.ranking import counts, evidence, kinds, past
from components.ranking.candidates import candidates
from components.ranking.features import COUNTS_AND_TIMES, Asked
from components.ranking.lists import Held, Lists
from components.ranking.reading import Reader, features, squashed
from components.ranking.teaching import Taught, held_out
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from tests.ranking.conftest import RANK

DRAW = np.random.default_rng(5)


@pytest.fixture(scope="module")
def asked(learned: tuple[Learned, Held]) -> Asked:
    """Every item is a candidate of some users, one of whom has no history, and one no times."""
    histories, days = learned[0].histories.between(0, 8), learned[0].days[: learned[0].histories.offsets[8]].copy()
    days[histories.offsets[3] : histories.offsets[4]] = np.nan
    offsets = np.append(histories.offsets, histories.offsets[-1])
    owners, items = np.divmod(np.arange(9 * 40), 40)
    return Asked(Ragged(offsets, histories.values), days, owners, items)


def test_candidates_are_the_best_of_each_voice_and_what_a_user_has() -> None:
    """Prevents a seen item that takes a place among the best, a candidate of another user, and figures that mask or
    company change."""
    scores = [DRAW.random((5, 30)).astype(np.float32) for _ in range(3)]
    scores[1][:, 10:] = 0.0
    scores[2] -= 0.5
    histories = Ragged.of([[1, 2], [], [29, 0, 5], [7], [7, 7]])
    least = [0.0, 0.0, -math.inf]
    found = candidates([each.copy() for each in scores], least, histories, most=6)
    for user in range(5):
        own = set(histories.row(user).tolist())
        mine = found.owners == user
        tops, unseen = [], [item for item in range(30) if item not in own]
        for each, lowest in zip(scores, least, strict=True):
            ordered = sorted((item for item in unseen if each[user, item] > lowest), key=lambda item: -each[user, item])
            tops.append(ordered[:6])
        assert set(found.items[mine].tolist()) == own.union(*tops)
        assert found.items[mine].tolist() == sorted(found.items[mine].tolist())
        assert found.own[mine].tolist() == [item in own for item in found.items[mine].tolist()]
        for number, top in enumerate(tops):
            assert set(found.items[mine & found.proposed[:, number]].tolist()) == set(top)
            values, others = scores[number][user], [scores[number][user, item] for item in unseen]
            among = [values[item] for item in found.items[mine].tolist() if item not in own]
            expected = [
                [
                    values[item] / max(abs(other) for other in others),
                    (values[item] - np.mean(others)) / np.std(others),
                    1 + sum(other > values[item] for other in among),
                ]
                for item in found.items[mine].tolist()
            ]
            assert np.allclose(found.columns[mine][:, 3 * number : 3 * number + 3], expected, rtol=1e-4, atol=1e-5)


def test_evidence_is_its_definition(taught: Taught, asked: Asked) -> None:
    """Prevents links of another user's items, of the wrong direction, and an item that speaks for itself."""
    links = taught.reader._links["graph"]
    dense, most = links.toarray(), 3
    found = evidence.evidence(links, asked, most=most)
    for row, (owner, item) in enumerate(zip(asked.owners, asked.items, strict=True)):
        history = asked.histories.row(owner).tolist()[::-1][:most]
        days = asked.days[asked.histories.offsets[owner] : asked.histories.offsets[owner + 1]][::-1]
        from_each = [0.0 if had == item else dense[had, item] for had in history]
        today = (
            [
                each
                for place, (each, day) in enumerate(zip(from_each, days[:most], strict=True))
                if place == 0 or math.floor(day) == math.floor(days[0])
            ]
            if history and not math.isnan(days[0])
            else from_each[:1]
        )
        best = max(from_each, default=0.0)
        expected = [
            from_each[0] if history else 0.0,
            from_each[1] if len(history) > 1 else 0.0,
            best,
            sum(each > 0 for each in from_each),
            from_each.index(best) if best > 0 else most,
            max(today, default=0.0),
        ]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-6)


def test_counts_know_nothing_of_later_days_and_nothing_below_the_core(
    learned: tuple[Learned, Held], asked: Asked
) -> None:
    """Prevents: a count that looks past the prompt, and the k-core's secret, which the days of few events tell too."""
    core = 3
    found = counts.counted(counts.timeline(learned[0], core=core), asked, core=core)
    events = list(zip(learned[0].histories.values.tolist(), np.floor(learned[0].days).tolist(), strict=True))
    for row, (owner, item) in enumerate(zip(asked.owners, asked.items, strict=True)):
        moment = asked.moments[owner]
        moment = max(day for _, day in events) if math.isnan(moment) else moment
        before = [moment - day for each, day in events if each == item and day <= moment]
        expected = [max(len(before), core)]
        expected += [max(sum(back < window for back in before), core) for window in counts.WINDOWS]
        expected += [max(before), min(before)] if len(before) > core else [10_000.0, 10_000.0]
        assert found[row].tolist() == expected
    assert (found[:, :4] == core).any() and (found[:, :4] > core).any()


def test_a_brand_that_is_a_relation_is_compared_like_one_of_the_items(learned: tuple[Learned, Held]) -> None:
    """Prevents: `rank` ending in a TypeError where `views.words` brings a relation `brand`, whose words are a list."""
    plain = learned[0]
    listed = [None if each is None else [each] for each in plain.texts["brand"]]
    spoken = replace(plain, texts={**plain.texts, "brand": listed})
    assert any(listed) and np.array_equal(kinds.codes(spoken), kinds.codes(plain))


def test_brand_and_category_are_compared_with_the_history(learned: tuple[Learned, Held], asked: Asked) -> None:
    """Prevents items without a brand that share it, and categories compared out of their path."""
    texts = learned[0].texts
    of_kind = {
        "brand": texts["brand"],
        "leaf": [tuple(path) or None for path in texts["categories"]],
        "parent": [tuple(path[:-1]) or None for path in texts["categories"]],
    }
    found = kinds.shared(kinds.codes(learned[0]), asked, most=20)
    for row, (owner, item) in enumerate(zip(asked.owners, asked.items, strict=True)):
        history = asked.histories.row(owner).tolist()
        expected: list[float] = []
        for values in of_kind.values():
            same = [values[had] is not None and values[had] == values[item] for had in history]
            expected += [float(same[-1]) if same else 0.0, sum(same), sum(same) / max(len(same), 1)]
        assert found[row].tolist() == pytest.approx(expected)


def test_the_past_is_described(asked: Asked) -> None:
    """Prevents a span or a day of another history."""
    found = past.past(asked)
    for row, (owner, item) in enumerate(zip(asked.owners, asked.items, strict=True)):
        history = asked.histories.row(owner).tolist()
        days = asked.days[asked.histories.offsets[owner] : asked.histories.offsets[owner + 1]]
        known = np.nan_to_num(days)
        today = int((np.floor(days) == np.floor(days[-1])).sum()) if history else 0
        expected = [
            len(history),
            known[-1] - known[0] if history else 0.0,
            known[-1] - known[-2] if len(history) > 1 else 0.0,
            max(today, 1) if history else 0,
            history.count(item),
            1 / (1 + history[::-1].index(item)) if item in history else 0.0,
        ]
        assert found[row].tolist() == pytest.approx(expected)


def test_leaving_a_voice_out_is_never_having_had_it(taught: Taught, learned: tuple[Learned, Held]) -> None:
    """Prevents an ablation whose candidates or summaries still know the voice."""
    voices = [name for name in RANK.voices if name != "text"]
    rank = replace(RANK, voices=voices, evidence=["graph", "graph_even"])
    expected = Lists.read(Reader.build(learned[0], rank, Voices(), core=3), learned[1])
    found = Lists.read(taught.reader, learned[1]).without(voices=["text"])
    assert found.features == expected.features
    for name in ("offsets", "right", "own", "proposed", "users", "asked"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    # Its rank by another voice is among fewer candidates, where it is not among the best of that voice.
    others = ["rank" not in each.name and each.name != "near_the_top" for each in found.features]
    assert np.array_equal(found.columns[:, others], expected.columns[:, others])
    timeless = found.without(groups=[COUNTS_AND_TIMES])
    assert timeless.columns.shape[1] == found.columns.shape[1] - len(counts.features())


def test_no_feature_knows_the_numbers_of_items(learned: tuple[Learned, Held]) -> None:
    """Prevents a feature, or a cut among equals, that sees the order of items."""
    own, valid = learned
    number = np.random.default_rng(1).permutation(40)
    texts = {name: [None] * 40 for name in own.texts}
    for name, values in own.texts.items():
        for item, value in enumerate(values):
            texts[name][number[item]] = value
    rank = Rank(candidates=40)

    def numbered(histories: Ragged) -> Ragged:
        return Ragged(histories.offsets, number[histories.values])

    other = replace(own, histories=numbered(own.histories), texts=texts)
    their = Held(numbered(valid.histories), valid.days, number[valid.targets])
    tables = []
    for shop, asks, back in ((own, valid, np.arange(40)), (other, their, np.argsort(number))):
        rows: dict[tuple[int, int], np.ndarray] = {}
        for block in Reader.build(shop, rank, Voices(), core=3).blocks(asks.histories, asks.days):
            owners = block.first + block.candidates.owners
            rows |= {
                (owner, back[item]): row
                for owner, item, row in zip(owners.tolist(), block.candidates.items, block.columns, strict=True)
            }
        tables.append(rows)
    one, two = tables
    assert one.keys() == two.keys() and len(one) > 1000
    # Ranks of scores that differ in their last bits alone may change places, as the sums run in another order.
    differing = sum(not np.allclose(row, two[key], atol=0.01) for key, row in one.items())
    assert differing < 0.02 * len(one)


def test_the_inner_hold_out_knows_nothing_of_its_targets(learned: tuple[Learned, Held]) -> None:
    """Prevents voices and tables that are built from the events that the ranker is taught to find."""
    own, _ = learned
    left, held = held_out(own, 2)
    rows = [row.tolist() for row in own.histories if len(row) > 2]
    assert [row.tolist() for row in left.histories] == [row[:-2] for row in rows]
    assert held.targets.tolist() == [row[-2] for row in rows]
    assert held.histories is left.histories and len(left.days) == len(left.histories.values)
    changed = Ragged(own.histories.offsets, own.histories.values.copy())
    ends = own.histories.offsets[1:]
    changed.values[np.concatenate([ends - 1, ends - 2])] = 0
    same, _ = held_out(replace(own, histories=changed), 2)
    assert np.array_equal(same.histories.values, left.histories.values)


def test_every_column_has_one_name() -> None:
    """Prevents weights that are printed beside the names of other features."""
    rank = Rank(voices=["text", "graph", "popularity"], evidence=["graph"])
    names = [each.name for each in features(rank)]
    assert len(names) == len(set(names))
    assert names[:3] == ["text.share", "text.z", "text.rank"]
    assert squashed(np.array([[-math.e + 1, 0.0, math.e - 1]], np.float32)).tolist() == [[-1.0, 0.0, 1.0]]
