"""Voices that take in new items: nothing is learned again, and nobody else's score changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.errors import BadInput
from components.recommender.catalogue import Catalogue
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build, names
from components.voices.text import Text

ITEMS = tuple(f"i{number}" for number in range(8))
MORE = (*ITEMS, "new 1", "new 2")
HISTORIES = Ragged.of([[0, 1, 2, 3], [3, 4, 5], [6, 0, 1], [5, 6, 7, 1]])
TITLES = [f"{'soap' if number % 2 else 'brush'} no {number} blue" for number in range(8)]
NEW: dict[str, Any] = {"title": ["soap no 3 blue zebra", None]}


def catalogue(items: tuple[str, ...]) -> Catalogue:
    return Catalogue(IdTable(items, items, tuple((number,) for number in range(len(items)))))


LEARNED = Learned(catalogue(ITEMS), HISTORIES, np.arange(14.0), {"title": TITLES})
TRAINED = {"sequence"}
"""Voices that have to be trained to know an item."""


@pytest.mark.parametrize("name", sorted(set(names()) - TRAINED))
def test_old_scores_stay_and_new_items_have_columns(name: str) -> None:
    """Prevents: an item that moves those that were there, and a voice that has no place for it."""
    voice, asked = build(name, LEARNED), np.full(len(HISTORIES.values), np.nan)
    longer = voice.extended(catalogue(MORE), NEW)
    old, new = voice.scores(HISTORIES, asked), longer.scores(HISTORIES, asked)
    assert new.shape == (4, 10)
    np.testing.assert_array_equal(new[:, :8], old)
    assert longer.scores(Ragged.of([[8, 3]]), np.full(2, np.nan)).shape == (1, 10), "a history may hold a new item"


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_trained_voice_says_that_it_cannot(name: str) -> None:
    """Prevents: an item with the weights of another, or of none, that is recommended for no reason."""
    with pytest.raises(BadInput, match="not trained on"):
        build(name, LEARNED).extended(catalogue(MORE), NEW)


def test_text_finds_the_new_item_and_answering_before_changes_nothing() -> None:
    """Prevents: a matrix that is turned over again for each new item, or one that has it in another place."""
    fresh, asked = build("text", LEARNED), build("text", LEARNED)
    assert isinstance(fresh, Text) and isinstance(asked, Text)
    days = np.full(len(HISTORIES.values), np.nan)
    asked.scores(HISTORIES, days)
    one, other = (each.extended(catalogue(MORE), NEW) for each in (fresh, asked))
    np.testing.assert_array_equal(one.scores(HISTORIES, days), other.scores(HISTORIES, days))
    twice = other.extended(catalogue((*MORE, "new 3")), {"title": [TITLES[0]]})
    np.testing.assert_array_equal(twice.scores(HISTORIES, days)[:, :10], other.scores(HISTORIES, days))
    found = one.scores(Ragged.of([[3]]), np.full(1, np.nan))[0]
    assert found[8] == found.max() > 0.0 == found[9], "none is more like it; one without text is like nothing"
