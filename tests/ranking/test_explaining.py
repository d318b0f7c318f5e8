"""Reasons beside recommendations: every clause is true, and what is cited is what decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.explanations import Tables
from components.ranking.clauses import KINDS, LEAST_PEOPLE, Clause
from components.ranking.explaining import Explainer, explainer
from components.ranking.facts import Facts
from components.ranking.hybrid import Hybrid
from components.ranking.kinds import codes
from components.ranking.lists import Held
from components.ranking.load import load
from components.ranking.modes import Choice, Modes
from components.ranking.shortened import said, shortened
from components.recommender.pair import PARAMS
from components.registry.answers import Answers
from components.registry.bundle import gives_reasons
from components.settings.decoding import Decoding
from components.storage.artifacts import publish_json
from components.storage.ragged import Ragged
from components.voices.learned import Learned
from components.voices.lists import best
from components.voices.load import build
from tests.ranking.shops import shop, texts
from tests.ranking.test_modes import Written


@pytest.fixture(scope="module")
def explained(hybrid: Hybrid, learned: tuple[Learned, Held]) -> Hybrid:
    return hybrid.with_facts(learned[0])


def results_of(hybrid: Hybrid, held: Held, *, masked: bool = True) -> list[list[int]]:
    scores = hybrid.scores(held.histories, held.days)
    found, _ = best(scores, 6, least=hybrid.LEAST, excluded=held.histories if masked else None)
    return [[item for item in row if item >= 0] for row in found.tolist()]


def tables(learned: Learned, columns: dict[str, list[Any]] | None = None) -> Tables:
    ids = learned.catalogue.table.item_ids
    items = pl.DataFrame({"item_id": ids, **(columns or texts(len(ids)))}, strict=False)
    return Tables.of(items, [[ids[item] for item in row] for row in learned.histories])


@pytest.mark.parametrize("masked", [True, False])
def test_every_clause_is_true(explained: Hybrid, learned: tuple[Learned, Held], masked: bool) -> None:
    """Prevents a count that nobody took, a brand that is not the same, a word of one title alone. Seen items too."""
    own, held = learned
    results = results_of(explained, held, masked=masked)
    why = Explainer(explained)(held.histories, held.days, results)
    ids, found = own.catalogue.table.item_ids, tables(own)
    said_of = [
        (clause, ids[item])
        for row, own in zip(why, results, strict=True)
        for each, item in zip(row, own, strict=True)
        for clause in each
    ]
    assert [each for each in said_of if not found.true(*each)] == []
    assert {"next", "together", "kind"} <= {clause.kind for clause, _ in said_of}
    cited = [(clause.item, user) for user, row in enumerate(why) for each in row for clause in each if clause.item]
    assert all(item in {ids[had] for had in held.histories.row(user)} for item, user in cited)
    # The judge is one: what is nearly true it calls false.
    clause, item = next((clause, item) for clause, item in said_of if clause.kind == "next")
    assert clause.people is not None and clause.people >= LEAST_PEOPLE
    assert not found.true(replace(clause, people=clause.people + 1), item)
    assert not found.true(replace(clause, item=item), item)
    assert not found.true(Clause("words", clause.item, words=("nowhere",)), item)


def test_everything_that_could_be_said_is_true(learned: tuple[Learned, Held]) -> None:
    """Prevents clauses that the lists above happen not to hold. All pairs of items."""
    own, _ = learned
    columns = texts(40) | {"title": [f"soap scent{number // 3} {number % 7}" for number in range(40)]}
    ids = own.catalogue.table.item_ids
    facts = Facts(Facts.build(replace(own, texts=columns)), codes(replace(own, texts=columns)), ids)
    judge = tables(own, columns)
    found = [
        (clause, ids[one])
        for one in range(40)
        for clause in [
            facts.popular(one),
            *(each for had in range(40) if had != one for each in facts.clauses(had, one)),
        ]
    ]
    assert {clause.kind for clause, _ in found} == set(KINDS) - {"relation"}  # of views: test_views.py
    assert [each for each in found if not judge.true(*each)] == []


def test_what_few_people_did_is_not_named(learned: tuple[Learned, Held]) -> None:
    """Prevents one person's basket told to everybody, on the disk as well."""
    own, _ = learned
    few = replace(own, histories=Ragged.of([[0, 1], [0, 1], [2, 3], [2, 3], [2, 3]]), known_days=None)
    arrays = Facts.build(few)
    assert arrays["next.keys"].tolist() == [2 * 40 + 3] and arrays["next.people"].tolist() == [3]
    assert arrays["together.keys"].tolist() == [2 * 40 + 3]


def test_the_cited_item_decided(explained: Hybrid, learned: tuple[Learned, Held]) -> None:
    """Prevents a reason that sounds well: without the cited item a result falls further than without another one, in
    the ranker's whole answer to the shortened history."""
    _, held = learned
    results = results_of(explained, held)
    why = Explainer(explained)(held.histories, held.days, results)
    row_of = explained.catalogue.row_of
    short = shortened(held.histories, held.days, most=99)
    scores = explained.scores(short.histories, short.days).astype(np.float64)
    further, all_of = 0.0, 0
    for user, own in enumerate(results):
        rows = np.flatnonzero(short.users == user)
        for clauses, item in zip(why[user], own, strict=True):
            if clauses[0].item is None or len(rows) < 2:
                continue
            stands = {}
            for row in rows:
                left = scores[row].copy()
                left[held.histories.row(user)] = -np.inf
                share = np.exp(left - left.max())
                stands[int(short.items[row])] = ((left > left[item]).sum(), -share[item] / share.sum())
            cited = stands.pop(row_of[clauses[0].item])
            further += np.mean([cited > other for other in stands.values()])
            all_of += 1
    assert all_of > 300 and further / all_of > 0.9


def test_voices_say_of_a_shortened_history_what_they_always_say(learned: tuple[Learned, Held]) -> None:
    """Prevents deletions by a formula of their own. Against asking each voice with the shortened histories."""
    own, held = learned
    few = held.histories.between(0, 12)
    short = shortened(few, held.days[: few.offsets[-1]], most=4)
    variant = np.repeat(np.arange(len(short.users)), 40)
    items = np.tile(np.arange(40), len(short.users))
    for name in ("graph", "graph_even", "graph_twice", "graph_then_text", "text", "graph_text", "recent"):
        voice = build(name, own)
        expected = voice.scores(short.histories, short.days)
        found = said(voice, few, short, variant, items).reshape(expected.shape)
        assert np.allclose(found, expected, atol=1e-5, rtol=1e-4), name


def test_reasons_are_kept_and_the_same_in_any_company(
    explained: Hybrid, learned: tuple[Learned, Held], tmp_path: Path
) -> None:
    """Prevents reasons that change with the neighbours of a batch, or are lost on the disk."""
    _, held = learned
    results = results_of(explained, held)
    whole = Explainer(explained)(held.histories, held.days, results)
    explained.save(tmp_path / "hybrid")
    loaded = load(tmp_path / "hybrid")
    assert isinstance(loaded, Hybrid)
    first = held.histories.between(0, 20)
    for user in range(20):
        days = held.days[first.offsets[user] : first.offsets[user + 1]]
        assert Explainer(loaded)(first.between(user, user + 1), days, results[user : user + 1]) == [whole[user]]


def test_without_facts_there_is_no_reason(hybrid: Hybrid) -> None:
    """Prevents a bundle of yesterday that is no longer served, and a reason out of nothing."""
    assert explainer(hybrid, Decoding()) is None
    (answer,) = Answers(hybrid, Decoding())([["i001", "i003"]], [3])
    assert answer["reasons"] == ["no single reason stands out"] * 3
    assert answer["evidence"] == [[{"kind": "none"}]] * 3
    assert answer["sentence"] == f"After i001 and i003: {answer['titles'][0]}."


def test_reasons_can_be_left_out(explained: Hybrid, tmp_path: Path) -> None:
    """Prevents a setting that costs as much as before: the same items, and nobody is asked why."""
    (answer,), (told,) = (Answers(explained, Decoding(), reasons=said)([["i001"]], [3]) for said in (False, True))
    assert answer["item_ids"] == told["item_ids"] and answer["scores"] == told["scores"]
    assert answer["evidence"] == [[{"kind": "none"}]] * 3 != told["evidence"]
    publish_json(tmp_path / PARAMS, {"register": {"reasons": False}})
    assert not gives_reasons(tmp_path) and gives_reasons(tmp_path / "older")


class Scored(Written):
    """It goes by i002 alone: the smallest numbers are the most likely, without it the largest."""

    def scores(self, histories: Any, candidates: Ragged, decoding: Decoding, progress: Any = None) -> Any:
        signs = [-1.0 if 2 in self.catalogue.rows(history) else 1.0 for history in histories]
        return np.array([item * signs[user] for user, row in enumerate(candidates) for item in row.tolist()])


@pytest.mark.parametrize("mode", ["generate", "rank", "hybrid"])
def test_every_mode_has_reasons(explained: Hybrid, learned: tuple[Learned, Held], mode: Any) -> None:
    """Prevents a mode whose answers have none; and in `generate` the ranker's reasons for what another one chose."""
    written = Scored(explained.catalogue, (1, 5, 20))
    modes = Modes(explained.catalogue, lambda: written, lambda: explained, Choice(mode, 0.3))
    answers = Answers(modes, Decoding())
    found = answers([["i002", "i001", "i003"], [], ["gone"]], [3, 3, 3])
    assert [len(each["reasons"]) for each in found] == [3, 0, 0]
    assert answers([["i002", "i001", "i003"]], [3])[0] == found[0]
    judge = tables(learned[0])
    for item, clauses in zip(found[0]["item_ids"], found[0]["evidence"], strict=True):
        assert all(judge.true(Clause(**{**each, "words": tuple(each.get("words", ()))}), item) for each in clauses)
    cited = {each.get("item") for clauses in found[0]["evidence"] for each in clauses}
    if mode == "generate":
        assert cited <= {"i002", None} and "i002" in cited


def test_people_who_take_things_again_are_told_the_truth() -> None:
    """Prevents a person who took an item twice being counted as two."""
    own, _ = shop(users=30, drop_repeats=False)
    rows = [[1, 2, 1, 2], [1, 2], [2, 1, 2], [5, 6], [5, 6]]
    found = Facts.build(replace(own, histories=Ragged.of(rows), known_days=None))
    assert found["people"][[1, 2, 5]].tolist() == [3, 3, 2]
    assert dict(zip(found["next.keys"].tolist(), found["next.people"].tolist(), strict=True)) == {42: 3}
    assert dict(zip(found["together.keys"].tolist(), found["together.people"].tolist(), strict=True)) == {42: 3}
