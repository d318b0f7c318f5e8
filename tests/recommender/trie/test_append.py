"""Items appended to a trie: array by array the trie that is built of all IDs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import BadInput
from components.recommender.trie.append import append
from components.recommender.trie.trie import Trie

END = 1
tokens = st.integers(min_value=0, max_value=5) | st.integers(min_value=0, max_value=200_000)
id_sets = st.lists(
    st.lists(tokens.filter(lambda token: token != END), min_size=1, max_size=9).map(tuple),
    min_size=2,
    max_size=40,
    unique=True,
)


def assert_equal(found: Trie, expected: Trie) -> None:
    for field in fields(Trie):
        one, two = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(one, torch.Tensor):
            assert one.dtype == two.dtype and one.equal(two), field.name
        else:
            assert one == two, field.name


@settings(max_examples=200, deadline=None)
@given(id_sets, st.data())
def test_appending_equals_building(ids: list[tuple[int, ...]], data: st.DataObject) -> None:
    """Prevents a trie that lets out IDs that nobody has, or loses some, after the nightly new items."""
    cut = data.draw(st.integers(min_value=1, max_value=len(ids) - 1))
    again = append(Trie.build(ids[:cut], end_token=END), ids[cut:])
    assert_equal(again, Trie.build(ids, end_token=END))


@settings(max_examples=200, deadline=None)
@given(id_sets, st.data())
def test_new_items_between_the_old_ones(ids: list[tuple[int, ...]], data: st.DataObject) -> None:
    """Prevents ties that are not broken by item id: a new item's id may sort before an old one's."""
    chosen = st.lists(st.sampled_from(range(len(ids))), min_size=1, max_size=len(ids) - 1, unique=True)
    numbers = data.draw(chosen)
    old = [sequence for number, sequence in enumerate(ids) if number not in numbers]
    longer = append(Trie.build(old, end_token=END), [ids[number] for number in numbers], numbers=numbers)
    assert_equal(longer, Trie.build(ids, end_token=END))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([(7,)], [(7, 8)]),
        ([(7, 8)], [(7,)]),
        ([(7, 8, 9)], [(6, 8, 5), (7, 8, 5)]),
        ([(5,)], [tuple(range(2, 300))]),
        ([tuple(range(2, 300))], [(5,), (2, 3)]),
        ([(9,)], [(2,), (200_000,)]),
    ],
    ids=["longer", "prefix", "shared middle", "deeper", "shallower", "new tokens on both sides"],
)
def test_known_shapes(old: list[tuple[int, ...]], new: list[tuple[int, ...]]) -> None:
    """The shapes where a merge goes wrong, each always run."""
    assert_equal(append(Trie.build(old, end_token=END), new), Trie.build([*old, *new], end_token=END))


@pytest.mark.parametrize(
    ("new", "numbers", "message"),
    [
        ([(7, 8)], None, "number 2 has the same ID"),
        ([(6,), (6,)], None, "same ID"),
        ([()], None, "empty"),
        ([(5, END)], None, "end token"),
        ([], None, "no IDs"),
        ([(5,), (6,)], [0, 0], "different places"),
        ([(5,)], [9], "different places"),
        ([(5,)], [-1], "different places"),
    ],
)
def test_bad_ids_are_refused(new: Sequence[Sequence[int]], numbers: list[int] | None, message: str) -> None:
    """Each would make an item that cannot be told from another, or an array with holes."""
    trie = Trie.build([(7, 8), (7,)], end_token=END)
    with pytest.raises(BadInput, match=message):
        append(trie, new, numbers=numbers)


def test_saved_with_its_table(tmp_path: Path) -> None:
    """Prevents a trie that is older than the table beside it: it would write IDs of items that have others now."""
    trie, path = append(Trie.build([(7, 8, 9), (7,)], end_token=END), [(6, 2)]), tmp_path / "trie.safetensors"
    trie.save(path, table_digest="abc")
    assert_equal(Trie.load(path, table_digest="abc"), trie)
    with pytest.raises(BadInput, match="of the ID table abc, not abd"):
        Trie.load(path, table_digest="abd")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match="not a trie"):
        Trie.load(path, table_digest="abc")
    with pytest.raises(BadInput, match="not a trie"):
        Trie.load(tmp_path / "none.safetensors")
