"""What each voice adds, who found the hits, and pairs of lists, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.arrays import UNKNOWN, Times
from components.evaluation.remembered import Remembered
from components.evaluation.slices import by_day
from components.evaluation.voice_figures import Apart, adds, found_by, fused, pairs
from components.evaluation.voice_page import tables
from components.evaluation.voices import HYBRID
from components.settings.decoding import Decoding
from components.storage.ragged import Ragged
from tests.evaluation.made_report import metrics, with_voices
from tests.ranking.shops import catalogue
from tests.ranking.test_modes import HISTORIES, Written


def test_what_a_voice_adds_is_what_is_missing_without_it() -> None:
    """Prevents a difference of the wrong sign, or of other users."""
    whole = np.array([1] * 100 + [0] * 100)
    apart = Apart(whole, {"one": np.zeros(200, int), "other": whole}, {})
    found = adds(apart, {"more": (np.ones(200, int), whole)}, 10, 17)
    assert [found[name]["difference"] for name in ("one", "other", "more")] == [0.5, 0.0, 0.5]
    assert found["one"]["interval"][0] > 0.4 and found["one"]["verdict"] == "better"
    assert found["other"]["interval"] == [0.0, 0.0]


def test_a_hit_belongs_to_who_proposed_it() -> None:
    """Prevents shares over all users, and a voice alone that was not."""
    hits = np.array([True, True, True, False])
    proposed = {"one": np.array([True, True, False, True]), "other": np.array([True, False, False, False])}
    found = found_by(hits, proposed)
    assert found["hits"] == 3
    assert found["voices"]["one"] == {"share": pytest.approx(2 / 3), "alone": pytest.approx(1 / 3)}
    assert found["voices"]["other"] == {"share": pytest.approx(1 / 3), "alone": 0.0}


def test_two_lists_are_fused_by_rank() -> None:
    """Prevents ranks of another user, of padding, or of a target that neither list has. Against a slow reading."""
    draw = np.random.default_rng(4)
    lists = [np.stack([draw.permutation(12)[:5] for _ in range(60)]) for _ in range(2)]
    lists[0][::7, 3:] = -1
    targets = draw.integers(0, 12, 60)
    expected = []
    for user, target in enumerate(targets):
        scores: dict[int, float] = {}
        for each in lists:
            for place, item in enumerate(each[user].tolist()):
                if item >= 0:
                    scores[item] = scores.get(item, 0.0) + 1 / (61 + place)
        order = sorted(scores, key=lambda item: (-scores[item], item))
        expected.append(order.index(target) + 1 if target in scores else 0)
    assert fused(lists, targets).tolist() == expected
    assert set(pairs({"a": lists[0], "b": lists[1], "c": lists[0]}, targets, 10)["a"]) == {"b", "c"}


def test_a_later_day_is_no_later_hour() -> None:
    """Prevents a target of the same evening among those of another day, and a time that is not known as one of both."""
    hour, day = 3_600_000_000, 86_400_000_000
    prompts = Ragged(np.array([0, 2, 4, 4, 5, 6]), np.array([0, 5 * hour, 0, 5 * hour, UNKNOWN, 0]))
    targets = np.array([9 * hour, day + hour, hour, day, UNKNOWN])
    found = by_day(Times(prompts, prompts, targets))
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "a later day": [1, 2],
        "the prompt's last day": [0],
        "not known": [3, 4],
    }


def test_both_protocols_are_of_the_same_users() -> None:
    """Prevents the ranker's strict rank beside another voice's refit."""
    made, voices = with_voices(metrics())
    assert voices["protocols"][HYBRID]["strict"] == voices[made["protocol"]["headline"]][HYBRID]
    refit = voices["protocols"]["graph"]["refit"]
    assert voices["protocols"][HYBRID]["refit"] == refit != voices["masked"][HYBRID]
    (table,) = (each for each in tables(voices) if each["caption"].startswith("Voices strict and refit"))
    assert table["columns"] == ["strict", "refit"] and len(table["rows"]) == 2


def test_who_is_asked_again_remembers() -> None:
    """Prevents a search for each of three who ask the same, and an answer to another question."""
    asked = []

    class Counting(Written):
        def recommend(self, histories, k, decoding, progress=None, times=None):  # type: ignore[no-untyped-def]
            asked.append(k)
            return super().recommend(histories, k, decoding, progress, times)

    own = Counting(catalogue(40), tuple(range(1, 30)))
    engine = Remembered(own)
    first = engine.recommend(HISTORIES, 5, Decoding(beams=10, mode="hybrid"))
    assert engine.recommend(HISTORIES, 10, Decoding(beams=10)) != first and asked == [10]
    assert first == own.recommend(HISTORIES, 5, Decoding(beams=10))
    engine.recommend(HISTORIES[:1], 5, Decoding(beams=10))
    engine.recommend(HISTORIES, 5, Decoding(beams=10, mask_seen=False))
    assert asked == [10, 5, 10, 10]
