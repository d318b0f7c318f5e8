"""Which demands fit into an ID."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.textid.writing.demands import NEVER, affordable


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 7)), max_size=6))
def test_the_cost_of_a_set_of_demands_is_that_of_its_cheapest_words(words: list[tuple[int, int]]) -> None:
    """Prevents an ID that is refused although its demands fit, or begun although they do not: two may share a word."""
    lengths = np.array([[length, length] for length, _ in words]).reshape(-1, 2)
    meets, costs = affordable(lengths, np.array([bits for _, bits in words], dtype=np.int64), 99)
    chosen = [part for count in range(len(words) + 1) for part in combinations(range(len(words)), count)]
    for wanted, cost in enumerate(costs):
        met = [part for part in chosen if wanted & ~np.bitwise_or.reduce(meets[list(part)], initial=0) == 0]
        assert cost == min(int(lengths[list(part), 0].sum()) for part in met)


@pytest.mark.parametrize(
    ("longest", "kept"),
    [(9, [1, 2, 4]), (7, [1, 2, 0]), (5, [1, 0, 2]), (2, [0, 0, 1]), (1, [0, 0, 0])],
)
def test_what_does_not_fit_is_dropped_and_the_others_stay(longest: int, kept: list[int]) -> None:
    """Prevents one demand of many tokens from taking all others with it."""
    lengths = np.array([[3, 3], [4, 4], [2, 2]])
    assert affordable(lengths, np.array([1, 2, 4]), longest)[0].tolist() == kept


def test_the_first_word_may_be_the_longer_one() -> None:
    """Prevents a demand that fits behind another word alone, where a tokenizer writes the first one in more tokens."""
    assert affordable(np.array([[4, 1]]), np.array([1]), 3)[1] == [0]
    assert affordable(np.array([[3, 1]]), np.array([1]), 3)[1] == [0, 1]
    assert NEVER not in affordable(np.array([[3, 1]]), np.array([2]), 3)[1]
