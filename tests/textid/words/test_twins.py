"""Near twins against all pairs, one by one."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.textid.words import twins as module
from components.textid.words.own import OwnWords
from components.textid.words.twins import MOST, near_twins

Named = dict[str, list[frozenset[str]]]


def apart_slowly(texts: dict[str, str]) -> dict[str, set[frozenset[str]]]:
    """For each item with a near twin, the smallest sets of words that a twin's text lacks; by looking at all pairs."""
    words = {item: set(text.split()) for item, text in texts.items()}
    found: dict[str, set[frozenset[str]]] = defaultdict(set)
    for one, own in words.items():
        for other, others in words.items():
            most = max(len(own - others), len(others - own))
            if one != other and 0 < most <= MOST and len(own & others) > most:
                found[one].add(frozenset(own - others))
    return {
        item: {words for words in sets if words and not any(smaller < words for smaller in sets - {frozenset()})}
        for item, sets in found.items()
    }


def apart(texts: dict[str, str]) -> Named:
    own = OwnWords.of(list(texts), list(texts.values()))
    found = near_twins(own).apart
    return {
        own.item_ids[row]: [frozenset(own.words[number] for number in words) for words in sets]
        for row, sets in found.items()
    }


def as_sets(found: Named) -> dict[str, set[frozenset[str]]]:
    return {item: set(sets) for item, sets in found.items()}


word = st.sampled_from([f"w{number}" for number in range(12)])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(word, max_size=9).map(" ".join), max_size=12))
def test_equals_looking_at_all_pairs(texts: list[str]) -> None:
    """Prevents twins that are missed because their rarest words are those in which they differ."""
    named = {f"i{row:02d}": text for row, text in enumerate(texts)}
    assert as_sets(apart(named)) == apart_slowly(named)


def test_colours_and_sizes_are_told_from_each_other() -> None:
    """Prevents a demand for any of the words that differ, where one of them alone tells from all twins."""
    base = "acorn dutch oven enamel lid"
    texts = {"grey": f"{base} grey", "red": f"{base} red", "red big": f"{base} red big", "plain": base}
    found = apart(texts)
    assert found["grey"] == [frozenset({"grey"})]
    assert found["red"] == [frozenset({"red"})]  # all that it has, the big one has
    assert found["red big"] == [frozenset({"big"}), frozenset({"red", "big"})] or found["red big"] == [
        frozenset({"big"})
    ]
    assert found["plain"] == []


def test_neither_the_order_of_the_items_nor_their_ids_matter() -> None:
    """Prevents IDs that change because a file was sorted differently or a shop renumbered its articles."""
    draw = random.Random(3)
    texts = [" ".join(draw.choices([f"w{number}" for number in range(15)], k=7)) for _ in range(60)]
    straight = apart({f"i{row:02d}": text for row, text in enumerate(texts)})
    order = draw.sample(range(60), 60)
    shuffled = apart({f"x{place:02d}": texts[row] for place, row in enumerate(order)})
    assert {order.index(int(item[1:])): sets for item, sets in straight.items()} == {
        int(item[1:]): sets for item, sets in shuffled.items()
    }


def test_a_large_family_is_compared_with_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents the square of a catalogue in which thousands of items differ in their colour alone."""
    texts = {f"i{row:03d}": f"acorn soap bar shade c{row % 97} {'oval' * (row % 2)}" for row in range(300)}
    whole = apart(texts)
    looked_at = Counter[str]()
    all_pairs = module._all_pairs

    def counted(rows):  # type: ignore[no-untyped-def]
        looked_at.update(["all"] * (len(rows) > 40))
        return all_pairs(rows)

    monkeypatch.setattr(module, "_FAMILY", 40)
    monkeypatch.setattr(module, "_all_pairs", counted)
    found = apart(texts)
    assert not looked_at["all"] and found.keys() == whole.keys()
    assert sum(found[item] == whole[item] for item in whole) > 0.9 * len(whole)
