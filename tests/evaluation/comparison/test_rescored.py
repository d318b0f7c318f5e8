"""The champion on fresh users: asked anew, without what it was taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.errors import GateRefused
from components.evaluation.comparison.rescored import rescored, without_taught
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation
from components.settings.decoding import Decoding
from components.textid.table.id_table import IdTable
from tests.evaluation.comparison.made import ITEMS, side

KNOWN = tuple(ITEMS[:50])
CATALOGUE = Catalogue(IdTable(KNOWN, tuple(f"old {item}" for item in KNOWN), tuple((n,) for n in range(50))))


@dataclass
class Old:
    """A champion that knows fifty items and recommends the first that a history has not; it keeps what it was asked."""

    asked: Any = None
    twice: bool = False
    catalogue: Catalogue = CATALOGUE

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int, decoding: Decoding, progress: Any = None, times: Any = None
    ) -> list[list[Recommendation]]:
        self.asked = (k, decoding, times)
        rows = [[item for item in KNOWN if item not in history][:k] for history in histories]
        rows = [[row[0], *row[:-1]] for row in rows] if self.twice else rows
        return [[Recommendation(item, "", 0.0) for item in row] for row in rows]


def test_the_champion_is_asked_as_the_new_version_was() -> None:
    """Prevents old figures, other users, another length of lists or another masking under the champion's name."""
    new, old = side("version 12", np.ones(40, dtype=int)), Old()
    found = rescored(old, Decoding(beams=7, mask_seen=False), like=new, name="version 11")
    k, decoding, times = old.asked
    assert times == new.users["times"].to_list(), "without them a ranker that knows the day answers worse than it can"
    assert (k, decoding.beams, decoding.mask_seen) == (20, 7, True)
    assert found.users.select("user_id", "target", "prompt").equals(new.users.select("user_id", "target", "prompt"))
    for row in found.users.iter_rows(named=True):
        expected = [item for item in KNOWN if item not in row["prompt"]][:20]
        assert row["recommended"] == expected
        assert row["rank"] == (expected.index(row["target"]) + 1 if row["target"] in expected else 0)
    assert found.words["i000"] == "old i000" and "i055" not in found.words
    assert found.titles["i055"] == new.titles["i055"], "an item that is new to it still has its title"


def test_a_broken_champion_is_refused() -> None:
    """Prevents a champion that wins by lists that nobody may give."""
    with pytest.raises(GateRefused, match="an item twice"):
        rescored(Old(twice=True), Decoding(), like=side("new", np.ones(4, dtype=int)), name="version 11")


def test_targets_that_the_champion_was_taught_are_left_out_and_counted() -> None:
    """Prevents a champion that is asked what it learned by heart: a later split, or a refit, may have taught it."""
    new = side("version 12", np.ones(6, dtype=int))
    rows = list(new.users.iter_rows(named=True))
    seen = [
        rows[0]["prompt"],  # the same history: not taught
        [*rows[1]["prompt"], rows[1]["target"]],  # goes on with the target: taught
        rows[2]["prompt"][:-1],  # a beginning: not taught
        [*rows[3]["prompt"], "i059"],  # goes on with another
        [*rows[4]["prompt"][:-1], rows[4]["target"], "i058"],  # another order, target after the fork: taught
    ]
    old = replace(
        new,
        users=pl.DataFrame({"user_id": [row["user_id"] for row in rows[:5]], "prompt": seen}),
    )
    (kept,), count = without_taught([new], old)
    assert count == 2 and kept.users["user_id"].to_list() == ["u00000", "u00002", "u00003", "u00005"]
    repeated = replace(old, users=pl.DataFrame({"user_id": ["u00000"], "prompt": [rows[0]["prompt"]]}))
    again = replace(new, users=new.users.with_columns(target=pl.col("prompt").list.first()))
    assert without_taught([again], repeated)[1] == 0, "what is bought again was not taught as a target"
    assert without_taught([new], None) == ([new], 0)
