"""One contract for every recommender there is: the engine in both score modes, every voice, the ranker over voices, all
modes of a bundle that holds it, and what `idiom zero-shot` makes: a sum, and a ranker that another shop taught.

Whoever serves, scores or judges one asks it through `interface.Recommender` and relies on what is tested here, on a
catalogue with merged ids, histories with repeats, and ids that nobody knows. A new voice joins by its entry in
components/settings/voices.py or components/evaluation/contenders.py. What each of them answers is tested beside it
(test_contract.py, tests/voices).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from components.errors import BadInput
from components.evaluation.contenders import baselines
from components.foundation.catalogue import Readers
from components.foundation.teaching import lessons_of
from components.foundation.teaching import teach as teach_lessons
from components.foundation.tiers import TIERS
from components.foundation.weights import preset
from components.ranking.experts import EXPERTS, Experts
from components.ranking.experts import save as save_experts
from components.ranking.fusion import Fusion
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.load import load
from components.ranking.load import modes as all_modes
from components.ranking.modes import CHOICE, FUSION, HYBRID, Choice, Modes
from components.ranking.teaching import teach
from components.recommender.catalogue import Catalogue
from components.recommender.engine import Engine
from components.recommender.interface import Recommendation, Recommender, Times
from components.registry.answers import Answers
from components.registry.bundle import modes_of
from components.settings.decoding import Decoding, Mode
from components.settings.foundation import Foundation
from components.settings.ranking import Fusion as Weights
from components.settings.ranking import Rank
from components.settings.voices import Voices
from components.storage.artifacts import publish_json
from components.storage.manifest import write_manifest
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.views.texts import encoded
from components.voices.learned import Learned
from components.voices.load import VIEW, build, names
from tests.recommender.pairs import TEXTS, WORDS, save_pair

TWINS = {"A9": "B1", "C5": "B5"}
"""Item ids that were merged away -> those that stand for them."""
TRAINED = [["B1", "B2", "B4"], ["B2", "B3"], ["B6", "B5", "B1"], ["B5", "B4"], ["B3", "B6", "B2"]]
HISTORIES = [["B2", "B4"], [], ["A9"], ["gone"], ["B6", "B3", "C5", "B5"], ["B4", "B4", "gone", "B4"], ["B5", "A9"]]
K = 3
# Beams for all items: the engine's best are then those over all of them, which masking thins out and does not change.
EVERYTHING = Decoding(beams=len(WORDS))


@dataclass(frozen=True)
class Subject:
    """A recommender, how it is asked, the directory it lies in, and the same one over another catalogue."""

    recommender: Recommender
    decoding: Decoding
    directory: Path
    over: Callable[[Catalogue], Recommender]

    def ask(
        self, histories: list[list[str]], k: int = K, times: Times = None, **settings: Any
    ) -> list[list[Recommendation]]:
        return self.recommender.recommend(histories, k, replace(self.decoding, **settings), None, times)

    def items(self, histories: list[list[str]], k: int = K, **settings: Any) -> list[list[str]]:
        return [[each.item_id for each in row] for row in self.ask(histories, k, **settings)]


MODES = ["modes, generate", "modes, rank", "modes, hybrid"]
ZERO_SHOT = [FUSION, "foundation, stream", "foundation, text_only"]
ENCODER = f"{VIEW}:encoder"
VOICES = [*dict.fromkeys([*names(), *baselines()]), ENCODER]
ASKED = ["engine, trie", "engine, vocabulary", *VOICES, HYBRID, EXPERTS, *MODES, *ZERO_SHOT]


@pytest.fixture(scope="module", params=ASKED)
def subject(
    request: pytest.FixtureRequest,
    make_model: Callable[..., Any],
    tokenizer: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Subject:
    directory = tmp_path_factory.mktemp("every") / "model"
    titles: dict[str, str | None] = {item: f"Title of {item}" for item in WORDS}
    catalogue = Catalogue(IdTable.from_words(tokenizer, WORDS), titles | {"B6": None}, TWINS)
    trained = Ragged.of([catalogue.rows(history) for history in TRAINED])
    days = np.arange(len(trained.values)) / 2
    kind, _, scores = request.param.partition(", ")

    def hybrid(of: Catalogue) -> Hybrid:
        learned = Learned(of, trained, days, TEXTS)
        last = trained.offsets[1:] - 1
        held = Held(trained, days, (trained.values[last] + 1) % len(WORDS))
        taught = teach(learned, held, Rank(), Voices(), core=0)
        return Hybrid.of(taught.choice.ranker, taught.reader, of, Voices())

    def of_zero_shot(of: Catalogue) -> Fusion | Hybrid:
        learned = Learned(of, trained, days, TEXTS)
        if kind == FUSION:
            return Fusion.build(learned, Weights(weights=preset()["stream"]))
        ask, last = Foundation(epochs=1, hidden=[4]), trained.offsets[1:] - 1
        readers = Readers.build(learned, ask, core=0)
        held = Held(trained, days, (trained.values[last] + 1) % len(WORDS))
        foundation = teach_lessons(lessons_of("itself", readers, held, ask, seed=1), ask, seed=1)
        (tier,) = (each for each in TIERS if each == scores)
        ranker = foundation.ranker(tier, readers.readers[tier], readers.standards[tier])
        return Hybrid.of(ranker, readers.readers[tier], of, readers.voices)

    if request.param in ZERO_SHOT:
        of_zero_shot(catalogue).save(directory)
        return Subject(of_zero_shot(catalogue), EVERYTHING, directory, of_zero_shot)
    if kind == HYBRID:
        hybrid(catalogue).save(directory)
        return Subject(hybrid(catalogue), EVERYTHING, directory, hybrid)
    if kind == "modes":
        save_pair(directory, make_model, tokenizer, drop_repeats=True)
        catalogue.save(directory)
        hybrid(catalogue).save(directory / HYBRID)
        publish_json(directory / CHOICE, {"mode": scores, "share": 0.5})
        write_manifest(directory, kind="bundle")

        def bundle(other: Catalogue) -> Recommender:
            found = all_modes(directory, directory / HYBRID, Choice("rank", 0.5), catalogue=other, device="cpu")
            ranker = hybrid(other)
            return Modes(other, lambda: found.engine, lambda: ranker, Choice(scores, 0.5))

        return Subject(load(directory, device="cpu"), EVERYTHING, directory, bundle)
    if kind == EXPERTS:
        # Two networks, and two sets of words, of which the second is shown by nobody.
        words = {"first": WORDS, "second": {item: f"{word} soap" for item, word in WORDS.items()}}
        pairs = {}
        for seed, (name, each) in enumerate(words.items()):
            made = lambda *size, seed, kind, more=seed: make_model(*size, seed=seed + 5 * more, kind=kind)  # noqa: E731
            pairs[name] = save_pair(directory.parent / name, made, tokenizer, words=each, drop_repeats=True)
        save_experts(directory, pairs, catalogue, {"first": 0.6, "second": 0.4})
        return Subject(
            load(directory, device="cpu"),
            EVERYTHING,
            directory,
            lambda other: Experts.load(directory, catalogue=other, device="cpu"),
        )
    if kind == "engine":
        save_pair(directory, make_model, tokenizer, drop_repeats=True)
        catalogue.save(directory)
        write_manifest(directory)
        own: Recommender = Engine.load(directory, device="cpu")
        decoding = replace(EVERYTHING, scores=scores)
        return Subject(own, decoding, directory, lambda other: Engine.load(directory, device="cpu", catalogue=other))

    of_texts = {}
    if kind == ENCODER:
        pair = save_pair(directory.parent / "pair", make_model, tokenizer, drop_repeats=True)
        (vectors,) = encoded(list(WORDS.values()), {"encoder": pair}, dims=2).values()
        # What all share makes every cosine one above 0, so that lists are full.
        of_texts = {"encoder": np.hstack([vectors, np.full((len(WORDS), 1), 1.5)]).astype(np.float32)}

    def over(other: Catalogue) -> Recommender:
        return build(kind, Learned(other, trained, days, TEXTS, views=of_texts))

    voice = build(kind, Learned(catalogue, trained, days, TEXTS, views=of_texts))
    voice.save(directory)
    return Subject(voice, EVERYTHING, directory, over)


def same(found: list[list[Recommendation]], expected: list[list[Recommendation]]) -> None:
    assert [[each.item_id for each in row] for row in found] == [[each.item_id for each in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert [each.score for each in row] == pytest.approx([each.score for each in other], abs=1e-4)


def test_an_answer_holds_at_most_k_items_best_first_ties_by_item_id(subject: Subject) -> None:
    """Prevents lists in an order of chance, an item twice, and words of another item."""
    for k in (1, K, 6, 500):
        for row in subject.ask(HISTORIES, k, mask_seen=False):
            assert len(row) <= min(k, len(WORDS))
            assert len({each.item_id for each in row}) == len(row)
            assert [each.words for each in row] == [WORDS[each.item_id] for each in row]
            for one, other in pairwise(row):
                assert (-one.score, one.item_id) < (-other.score, other.item_id)
    assert len(subject.ask([["B2", "B4"]])[0]) == K


def test_a_smaller_k_gives_the_beginning_of_a_larger_one(subject: Subject) -> None:
    """Prevents a page two that repeats page one."""
    full = subject.items(HISTORIES, 6)
    assert subject.items(HISTORIES, 2) == [row[:2] for row in full]


def test_seen_items_come_out_only_unmasked(subject: Subject) -> None:
    """Prevents what a customer has being offered again, under whatever id and however long ago, and a mask that costs
    another item its place."""
    every, masked = subject.items(HISTORIES, 6, mask_seen=False), subject.items(HISTORIES, 6)
    for history, row, kept in zip(HISTORIES, every, masked, strict=True):
        assert kept == [item for item in row if item not in {TWINS.get(had, had) for had in history}]
    assert every != masked
    long = ["B1", "B2", "B3", "B4"]
    assert set(subject.items([long], 6)[0]) == {"B5", "B6"}


def test_an_answer_depends_on_its_history_alone(subject: Subject) -> None:
    """Prevents answers that go to a neighbour, and scores that change with the company."""
    whole = subject.ask(HISTORIES)
    same(subject.ask(HISTORIES[::-1])[::-1], whole)
    same([subject.ask([history])[0] for history in HISTORIES], whole)
    assert subject.ask(HISTORIES) == whole
    assert subject.ask([]) == []


def test_histories_are_read_as_the_training_had_them(subject: Subject) -> None:
    """Prevents histories that lose their merged items, one item read twice, and an id of yesterday that crashes."""
    draw = random.Random(3)
    raw = [draw.choices([*WORDS, *TWINS, "gone"], k=draw.randrange(7)) for _ in range(40)]
    canonical = [list(dict.fromkeys(TWINS.get(item, item) for item in history)) for history in raw]
    expected = subject.ask([[item for item in history if item in WORDS] for history in canonical])
    same(subject.ask(canonical), expected)
    same(subject.ask(raw), expected)


def test_times_follow_their_items(subject: Subject) -> None:
    """Prevents a time that is taken for another item's once ids are unknown, merged or dropped as repeats; times of
    some histories that move the others' answers; and a recommender that cannot be asked with them."""
    day = 86_400.0
    raw = [["gone", "A9", "B1", "B4", "gone", "B2"], ["B3"], ["B2", "B4"]]
    times = [[0.0, day, 5 * day, 9 * day, 80 * day, 200 * day], None, [7 * day, 7.5 * day]]
    found = subject.ask(raw, times=times)
    same(found, subject.ask([["B1", "B4", "B2"], *raw[1:]], times=[[day, 9 * day, 200 * day], *times[1:]]))
    same(found[1:2], subject.ask([["B3"]]))
    same(found[2:], subject.ask([["B2", "B4"]], times=times[2:]))


def test_repeats_stay_where_the_training_had_them(subject: Subject) -> None:
    """Prevents a shop whose customers buy again, of whom the recommender sees the first time only."""
    again = subject.over(replace(subject.recommender.catalogue, drop_repeats=False))
    decoding = replace(subject.decoding, mask_seen=True)
    whole, merged = (again.recommend([row], 6, decoding) for row in (["B4", "B2", "B4"], ["B1", "A9"]))
    same(merged, again.recommend([["B1", "B1"]], 6, decoding))
    assert {each.item_id for each in whole[0]} == {each.item_id for each in subject.ask([["B4", "B2"]], 6)[0]}


def test_masking_follows_the_catalogue_unless_it_is_said(subject: Subject) -> None:
    """Prevents: `clean.drop_repeats: false` and recommendations that hide what people want, or a second setting that
    has to agree with the first."""
    again = subject.over(replace(subject.recommender.catalogue, drop_repeats=False))
    for recommender, masked in ((subject.recommender, True), (again, False)):
        said = {
            mask: recommender.recommend(HISTORIES, 6, replace(subject.decoding, mask_seen=mask))
            for mask in (None, True, False)
        }
        same(said[None], said[masked])
        assert said[None] != said[not masked]


def test_nobody_and_a_stranger_get_the_same(subject: Subject) -> None:
    """Prevents a crash on an empty history, and unknown items that count for something. It may be nothing at all."""
    nobody, stranger = subject.ask([[], ["gone", "gone too"]])
    same([nobody], [stranger])


@pytest.mark.parametrize("k", [-1, 0, 501])
def test_a_k_that_nobody_gives_is_refused(subject: Subject, k: int) -> None:
    """Prevents a request that loops, crashes deep inside, or takes all memory."""
    with pytest.raises(BadInput, match=f"k is {k}"):
        subject.ask([["B1"]], k)


def test_what_was_saved_answers_after_loading(subject: Subject) -> None:
    """Prevents a voice that forgets something on the disk: aliases, titles, counts."""
    loaded = load(subject.directory, device="cpu")
    assert loaded.recommend(HISTORIES, K, subject.decoding) == subject.ask(HISTORIES)
    assert loaded.catalogue == subject.recommender.catalogue
    assert [loaded.catalogue.name(row) for row in (0, 5)] == ["Title of B1", WORDS["B6"]]


def test_a_changed_or_missing_file_is_refused(subject: Subject, tmp_path: Path) -> None:
    """Prevents answers out of half a copy, or out of weights and tables that do not belong together."""
    whole = sorted(file for file in subject.directory.rglob("*") if file.is_file() and file.name != "manifest.json")
    for number, file in enumerate([whole[0], whole[-1]]):
        copied = tmp_path / str(number)
        shutil.copytree(subject.directory, copied)
        (copied / file.relative_to(subject.directory)).write_bytes(b"half")
        with pytest.raises(BadInput, match="SHA-256"):
            load(copied, device="cpu")
        (copied / file.relative_to(subject.directory)).unlink()
        with pytest.raises(BadInput, match="missing"):
            load(copied, device="cpu")


def test_who_answers_can_be_said(subject: Subject) -> None:
    """Prevents a mode that is asked for and not heard, or that a model lacks and another one answers in its place."""
    held = modes_of(subject.directory)
    assert held == (get_args(Mode) if isinstance(subject.recommender, Modes) else held[:1])
    for mode in get_args(Mode):
        if mode not in held:
            with pytest.raises(BadInput, match=f"there is no mode '{mode}' in this model"):
                Answers.of(subject.directory, mode=mode)
            continue
        (answer,) = Answers.of(subject.directory, mode=mode)([["B2", "B4"]], [K])
        (expected,) = subject.recommender.recommend([["B2", "B4"]], K, Decoding(mode=mode))
        assert answer["item_ids"] == [each.item_id for each in expected]
        assert len(answer["reasons"]) == len(answer["item_ids"])


@pytest.mark.parametrize(
    "wrong", [{"beams": 0}, {"beams": 501}, {"batch_users": 0}, {"scores": "best"}, {"length_penalty": float("nan")}]
)
def test_settings_out_of_bounds_cannot_be_made(wrong: dict[str, Any]) -> None:
    """Prevents a search of no beams or a batch of nobody, which would loop or crash deep inside."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Decoding(**wrong)
