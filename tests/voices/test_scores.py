"""The scores of each voice against a slow reading of its definition, on a small shop with times and texts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.recommender.catalogue import Catalogue
from components.settings import voices as knobs
from components.settings.decoding import Decoding
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.fading import strengths as strengths_of
from components.voices.graph import Graph
from components.voices.learned import Learned, in_order
from components.voices.lists import best, places
from components.voices.load import build, restored, voice
from components.voices.text import vectors
from components.voices.voice import Voice

ITEMS = [f"i{number:02}" for number in range(12)]
DRAW = np.random.default_rng(7)
HISTORIES = [[int(item) for item in DRAW.permutation(11)[: DRAW.integers(1, 8)]] for _ in range(25)]
"""Item 11 is never met."""
DAYS = [np.cumsum(DRAW.choice([0.0, 0.25, 3.0, 90.0], len(row))) + 16_000 for row in HISTORIES]
DAYS[3] = np.full(len(HISTORIES[3]), np.nan)
KINDS, BRANDS = ["soap", "honey soap", "hair brush", "hand soap"], ["Oak", "oak", None, "Elm"]
TEXTS: dict[str, list[Any]] = {
    "title": [f"{KINDS[number % 4]} no {number // 3}" if number != 5 else None for number in range(12)],
    "brand": [BRANDS[number % 4] if number != 5 else None for number in range(12)],
    "categories": [["all", f"shelf {number % 3}"] if number % 5 else [] for number in range(12)],
}
TABLE = IdTable(tuple(ITEMS), tuple(ITEMS), tuple((number,) for number in range(12)))
LEARNED = Learned(Catalogue(TABLE), Ragged.of(HISTORIES), np.concatenate(DAYS), TEXTS)
ASKED = [[4, 2, 9], [], [11], [0, 1, 2, 3, 4], [7]]
ASKED_DAYS = [[16_000.0, 16_000.25, 16_040.0], [], [16_100.0], [16_001.0] * 3 + [16_002.0] * 2, [math.nan]]
COUNTS = Counter(item for row in HISTORIES for item in row)


def of(chosen: Any) -> Voice:
    """A voice with settings of its own."""
    kind = voice(chosen.FILE)
    assert kind is not None
    return kind.build(LEARNED, chosen)


def scores(asked: Voice) -> list[list[float]]:
    return asked.scores(Ragged.of(ASKED), np.concatenate(ASKED_DAYS)).tolist()


def strengths(history: list[int], days: list[float], chosen: knobs.Fading) -> list[tuple[int, float]]:
    """The definition of settings.voices.Fading."""
    steps, found = 0.0, []
    for place in reversed(range(len(history))):
        if place + 1 < len(history):
            steps += chosen.same_day_step if math.floor(days[place]) == math.floor(days[place + 1]) else 1.0
        back = 0.0 if math.isnan(days[place]) else days[-1] - days[place]
        fade = math.exp(-back / chosen.age_days) if chosen.age_days else 1.0
        found.append((history[place], chosen.age_decay**steps * fade))
    return found


def graph(chosen: knobs.Graph) -> dict[tuple[int, int], float]:
    """The definition of graph.py, loop by loop."""
    weight: dict[tuple[int, int], float] = defaultdict(float)
    for history, days in zip(HISTORIES, DAYS, strict=True):
        for a in range(len(history)):
            for b in range(a + 1, min(len(history), a + chosen.reach + 1)):
                gap = days[b] - days[a]
                same = not math.isnan(gap) and math.floor(days[a]) == math.floor(days[b])
                each = chosen.distance_decay ** (b - a - 1) / math.log2(2 + len(history))
                each /= 1 + gap / chosen.pair_days if chosen.pair_days and not math.isnan(gap) else 1.0
                each *= chosen.same_day if same else 1.0
                weight[history[a], history[b]] += each
                both = same and chosen.same_day_both_ways
                weight[history[b], history[a]] += each if both else chosen.backward * each
    return {
        (i, j): each**chosen.power
        / max(COUNTS[i], 1) ** chosen.source_discount
        / max(COUNTS[j], 1) ** chosen.candidate_discount
        for (i, j), each in weight.items()
    }


def walked(start: Mapping[int, float], weight: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """One step along all edges."""
    found: dict[int, float] = defaultdict(float)
    for (i, j), each in weight.items():
        found[j] += start.get(i, 0.0) * each
    return found


def slow(chosen: Any, *steps: Mapping[tuple[int, int], float]) -> list[list[float]]:
    """Scores of a history's strengths after some steps."""
    rows = []
    for history, days in zip(ASKED, ASKED_DAYS, strict=True):
        found: dict[int, float] = dict(strengths(history, days, chosen))
        for step in steps:
            found = walked(found, step)
        rows.append([found.get(item, 0.0) for item in range(12)])
    return rows


def near(weight: Mapping[tuple[int, int], float], most: int) -> dict[tuple[int, int], float]:
    """The strongest edges of each item, with sum 1."""
    rows: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for (i, j), each in weight.items():
        rows[i].append((-each, j))
    kept = {i: sorted(row)[:most] for i, row in rows.items()}
    return {(i, j): each / sum(one for one, _ in row) for i, row in kept.items() for each, j in row}


def cosines(chosen: knobs.Text) -> dict[tuple[int, int], float]:
    """The definition of text.py between any two items."""
    features: list[Counter[tuple[str, str]]] = []
    for number in range(12):
        found: Counter[tuple[str, str]] = Counter()
        for place, column in enumerate([*chosen.words, *chosen.whole]):
            value = TEXTS[column][number] if column in TEXTS else None
            for text in [value] if isinstance(value, str) else value or []:
                words = text.lower().split()
                parts = [*words, *(map(" ".join, pairwise(words)) if chosen.pairs else [])]
                found.update((("", part) for part in parts) if place < len(chosen.words) else [(column, text.lower())])
        features.append(found)
    having = Counter(feature for found in features for feature in found)
    kept = {each for each, items in having.items() if each[0] or items >= chosen.min_items}
    rarity = {each: math.log(12 / having[each]) for each in kept}
    rows = [{each: (1 + math.log(n)) * rarity[each] for each, n in found.items() if each in kept} for found in features]
    length = [math.sqrt(sum(value**2 for value in row.values())) or 1.0 for row in rows]
    return {
        (i, j): sum(value * rows[j].get(each, 0.0) for each, value in rows[i].items()) / length[i] / length[j]
        for i in range(12)
        for j in range(12)
        if i != j
    }


GRAPHS = [
    knobs.DirectedGraph(),
    knobs.EvenGraph(),
    knobs.FlatGraph(),
    knobs.Graph(reach=2, backward=0.0, same_day=0.5, same_day_step=0.3, age_days=5.0, pair_days=2.0, power=2.0),
]


@pytest.mark.parametrize("chosen", GRAPHS, ids=lambda chosen: type(chosen).__name__)
def test_a_graph_is_its_definition(chosen: knobs.Graph) -> None:
    """Prevents a fast version that pairs items across users, counts steps of another history, or mixes up directions,
    discounts and days."""
    assert np.allclose(scores(of(chosen)), slow(chosen, graph(chosen)), rtol=1e-5)


def test_pairs_that_are_summed_in_pieces_sum_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents pairs that are lost or counted twice where a shop has too many to wait in memory."""
    whole = scores(of(knobs.DirectedGraph()))
    monkeypatch.setattr("components.voices.graph._PAIRS", 30)
    assert np.allclose(scores(of(knobs.DirectedGraph())), whole, rtol=1e-6)


@pytest.mark.parametrize("chosen", [knobs.Text(), knobs.RichText(age_days=5.0)], ids=["words", "rich"])
def test_text_is_its_definition(chosen: knobs.Text) -> None:
    """Prevents rare words that stay, lengths that are not 1, a whole value split, and an item like itself."""
    found, expected = np.array(scores(of(chosen))), np.array(slow(chosen, cosines(chosen)))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (found == 0)[expected == 0].all()
    assert (expected > 0).sum() > 20


def test_an_item_with_history_of_itself_alone_is_not_like_itself() -> None:
    """Prevents lists that begin with what the user has, where seen items are not masked."""
    (row,) = of(knobs.RichText()).recommend([["i01"]], 12, Decoding(mask_seen=False))
    assert "i01" not in {each.item_id for each in row} and len(row) > 2


def test_paths_are_steps_along_the_graph_and_the_text() -> None:
    """Prevents steps in the wrong order, with the sums of columns, or along an item's likeness to itself."""
    chosen = knobs.Paths(near=3, similar=2)
    weight, alike = graph(chosen), {pair: each**2 for pair, each in cosines(chosen.text).items() if each > 0}
    by = {"graph": weight, "near": near(weight, 3), "text": near(alike, 2)}
    for steps in (["near", "near"], ["graph", "text"], ["text", "graph"], ["near", "graph", "text"]):
        found = scores(of(replace(chosen, steps=steps)))
        assert np.allclose(found, slow(chosen, *(by[step] for step in steps)), rtol=1e-4, atol=1e-7), steps


@pytest.mark.parametrize("name", ["item_graph", "item_graph_text", "popularity", "graph", "text"])
def test_what_a_hybrid_keeps_of_a_voice_says_the_same(name: str) -> None:
    """Prevents: a ranker or a sum over a voice of a fixed formula that is saved and cannot be asked."""
    built = build(name, LEARNED)
    assert scores(restored(name, built.catalogue, built.arrays)) == scores(built)


def test_graph_and_text_are_summed() -> None:
    """Prevents a weight on the wrong part, and a normalisation for each user, which hides how little is known."""
    chosen = knobs.GraphText(text_weight=0.2)
    graph, text, words = (np.array(scores(of(each))) for each in (chosen.graph, chosen.text, knobs.Text()))
    assert np.allclose(scores(of(chosen)), graph + 0.2 * text, rtol=1e-5)
    base = np.array(scores(build("item_graph", LEARNED)))
    assert np.allclose(scores(build("item_graph_text", LEARNED)), base + 0.09 * words, rtol=1e-5)


@pytest.mark.parametrize("back", [60.0, 1e4, 1e6])
def test_times_that_go_back_count_as_now(back: float) -> None:
    """Prevents: infinite scores, and an answer that is no JSON, for a history whose times go back by decades; weights
    below zero, and a division by it, where the order of a shop's histories is that of given positions."""
    asked, days = Ragged.of([[4, 2, 9]]), np.array([16_000.0 + back, 16_000.25, 16_000.0])
    chosen = knobs.Fading(age_decay=0.5, age_days=60.0)
    found = strengths_of(asked, days, 12, chosen).toarray()[0]
    assert found[[4, 2, 9]] == pytest.approx([0.5**2, 0.5, 1.0])
    learned = Learned(Catalogue(TABLE), asked, days, TEXTS)
    weights = Graph.build(learned, knobs.Graph(pair_days=60.0, power=0.5)).scores(Ragged.of([[4]]), days[-1:])
    assert np.isfinite(weights).all() and weights[0, 2] > 0


def test_recent_popularity_knows_nothing_of_later_days() -> None:
    """Prevents a popularity that looks past the moment it is asked at."""
    chosen = knobs.Recent(days=20.0)
    found = np.array(scores(of(chosen)))
    events = [pair for row, days in zip(HISTORIES, DAYS, strict=True) for pair in zip(row, days, strict=True)]
    last = max(math.floor(day) for _, day in events if not math.isnan(day))
    moments = [16_040, last, 16_100, 16_002, last]  # an empty history and one without times ask at the end
    for row, moment in zip(found, moments, strict=True):
        expected = np.zeros(12)
        for item, day in events:
            if math.floor(day if not math.isnan(day) else 1e9) <= moment:
                expected[item] += math.exp(-(moment - math.floor(day)) / 20.0)
        assert np.allclose(row, expected, atol=1e-4)
    untimed = Learned(LEARNED.catalogue, LEARNED.histories)
    assert build("recent", untimed).scores(Ragged.of([[1]]), np.full(1, math.nan))[0].tolist() == [
        float(COUNTS[item]) for item in range(12)
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(-1, 4), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 7))
def test_best_is_a_stable_sort(rows: list[list[int]], k: int) -> None:
    """Prevents ties that fall as the partition likes, excluded items that push others out, and rows that mix."""
    excluded = [[place for place in range(5) if (place + number) % 3 == 0] for number in range(len(rows))]
    found, values = best(np.array(rows, np.float32), k, least=0.0, excluded=Ragged.of(excluded))
    for row, left_out, items, their in zip(rows, excluded, found.tolist(), values.tolist(), strict=True):
        expected = sorted(
            (item for item in range(5) if item not in left_out and row[item] > 0), key=lambda item: -row[item]
        )
        assert [item for item in items if item >= 0] == expected[:k]
        assert their[: len(expected[:k])] == [row[item] for item in expected[:k]]


def test_places_are_those_in_the_lists() -> None:
    """Prevents figures of ranks that no list has: ties by chance, a target that nobody is recommended, a seen one."""
    rows = np.array([[2, 0, 2, 1, 2, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 3, 0, 0]], np.float32)
    excluded = Ragged.of([[0], [3], []])
    for target in range(6):
        lists, _ = best(rows.copy(), 6, least=0.0, excluded=excluded)
        expected = [[*row, target].index(target) + 1 for row in lists.tolist()]
        found = places(rows.copy(), np.full(3, target), least=0.0, excluded=excluded)
        assert found.tolist() == [rank if rank <= 6 else 0 for rank in expected]


def test_texts_come_in_the_order_of_the_catalogue() -> None:
    """Prevents an item with the text of another where the item table has another order than the catalogue."""
    columns = {"item_id": ["b", "a", "c"], "title": ["B", "A", None]}
    assert in_order(["c", "a"], columns) == {"item_id": ["c", "a"], "title": [None, "A"]}


def test_a_shop_without_texts_or_histories_is_learned() -> None:
    """Prevents a first night that fails because nothing was sold, or nothing described, until then."""
    empty = Learned(Catalogue(TABLE), Ragged.of([[], []]))
    for name in ("graph", "graph_twice", "text", "graph_text", "graph_then_text", "recent", "popularity"):
        assert build(name, empty).recommend([["i01", "i02"], []], 3, Decoding()) == [[], []], name
    assert vectors(empty, knobs.Text()).nnz == 0


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_a_voice_leaves_the_histories_as_they_are(kind: type[np.signedinteger[Any]]) -> None:
    """Prevents a voice that sorts the histories it is asked with, so that the next one hears another order."""
    asked = Ragged(Ragged.of(ASKED).offsets, Ragged.of(ASKED).values.astype(kind))
    for name in ("graph", "text", "graph_twice", "graph_text", "recent"):
        build(name, LEARNED).scores(asked, np.concatenate(ASKED_DAYS))
        assert [row.tolist() for row in asked] == ASKED, name
