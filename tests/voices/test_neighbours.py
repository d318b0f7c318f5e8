"""The neighbours that a voice names: what a user took tells nothing to the user's own prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.errors import BadInput
from components.recommender.prompts.neighbours import Listed
from components.settings.train import Neighbours
from components.voices.neighbours import write
from tests.voices.test_teacher import ITEMS, drawn, tables

CHOSEN = Neighbours(voice="graph", items=3, folds=4)


def listed(folder: Path, histories: list[list[str]], chosen: Neighbours = CHOSEN) -> Listed:
    items, taken = tables(folder, histories)
    found = write(folder / "neighbours", items, taken, chosen, seed=1)
    return Listed.load(found, count=len(ITEMS), users=len(histories))


def block(found: Listed, number: int) -> list[list[int]]:
    return [row.tolist() for row in found.items.between(number * found.count, (number + 1) * found.count)]


def test_a_users_own_transitions_are_not_in_its_neighbours(tmp_path: Path) -> None:
    """Prevents the very next item in the prompt: a graph of all training histories has it as a neighbour."""
    histories = drawn()
    histories[7] = ["i00", "i06", "i03", "i09"]  # nobody else goes this way
    changed = [list(history) for history in histories]
    changed[7] = ["i00", "i01", "i02", "i04"]
    many = replace(CHOSEN, items=11)  # all that a path leads to
    before, after = (listed(tmp_path / name, each, many) for name, each in (("a", histories), ("b", changed)))
    user = len(histories) - 1 - 7  # users are sorted by id
    assert before.blocks.tolist() == after.blocks.tolist(), "who reads what must not follow from what was taken"
    own = int(before.blocks[user])
    assert block(before, own) == block(after, own)
    for number in {*range(many.folds + 1)} - {own}:
        assert block(before, number) != block(after, number), "others, and whoever asks the model, may know"
        assert 6 in block(before, number)[0]
    assert 6 not in block(before, own)[0]


def test_neighbours_are_what_comes_next(tmp_path: Path) -> None:
    """Prevents an item beside itself, and lists of another item."""
    found = listed(tmp_path / "shop", drawn())
    assert len(found.items) == (CHOSEN.folds + 1) * len(ITEMS)
    assert np.bincount(found.blocks).tolist() == [10] * 4
    for number in range(CHOSEN.folds + 1):
        for item, near in enumerate(block(found, number)):
            assert near[0] == (item + 1) % 12 and item not in near and len(set(near)) == len(near) == 3


def test_who_cannot_name_neighbours_is_refused(tmp_path: Path) -> None:
    items, taken = tables(tmp_path / "shop", drawn(6))
    for voice in ("grapf", "sequence"):
        with pytest.raises(BadInput, match=r"grapf|sequence cannot name neighbours"):
            write(tmp_path / "neighbours", items, taken, Neighbours(voice=voice), seed=1)
    assert not (tmp_path / "neighbours").exists()


def test_lists_of_another_shop_are_refused(tmp_path: Path) -> None:
    """Prevents words of other items behind each ID, from a work folder that was left behind."""
    listed(tmp_path / "shop", drawn(6))
    for count, users in ((len(ITEMS) - 1, 6), (len(ITEMS), 7)):
        with pytest.raises(BadInput, match="other items or users"):
            Listed.load(tmp_path / "shop" / "neighbours", count=count, users=users)
