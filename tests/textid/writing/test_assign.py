"""The global assignment against SciPy's dense one."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from components.textid.writing.assign import assign

Candidates = list[list[tuple[str, float]]]


def value(candidates: Candidates, chosen: list[int], left_over: float) -> float:
    return sum(
        options[index][1] if index >= 0 else left_over for options, index in zip(candidates, chosen, strict=True)
    )


def best_value(candidates: Candidates, left_over: float) -> float:
    """The exact optimum: a dense matrix with a private column for each item that is left over."""
    keys = sorted({key for options in candidates for key, _ in options})
    column = {key: place for place, key in enumerate(keys)}
    scores = np.full((len(candidates), len(keys) + len(candidates)), -1e6)
    for item, options in enumerate(candidates):
        for key, score in options:
            scores[item, column[key]] = max(scores[item, column[key]], score)
        scores[item, len(keys) + item] = left_over
    return float(scores[linear_sum_assignment(scores, maximize=True)].sum())


options = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-40, 0).map(lambda x: x / 4)), max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.lists(options, max_size=9), st.sampled_from([-30.0, -8.0, -1.0]))
def test_is_as_good_as_the_dense_optimum(candidates: Candidates, left_over: float) -> None:
    """Prevents a greedy that leaves items over although an exchange would give them an ID."""
    chosen = assign(candidates, left_over=left_over)
    keys = [options[index][0] for options, index in zip(candidates, chosen, strict=True) if index >= 0]
    assert len(set(keys)) == len(keys)
    assert value(candidates, chosen, left_over) == pytest.approx(best_value(candidates, left_over), abs=1e-6)


def test_as_many_items_as_possible_get_a_key_by_default() -> None:
    """Prevents an item left over to save another one a slightly worse name."""
    assert assign([[("soap", 0.0), ("bar", -9.0)], [("soap", -0.1)]]) == [1, 0]
    assert assign([[("soap", 0.0)], [("soap", -0.1)]]) == [0, -1]
    assert assign([[], [("a", -1.0)]]) == [-1, 0]
    assert assign([]) == []


def test_does_not_depend_on_the_order_of_the_items() -> None:
    """Prevents IDs that go to whoever comes first; scores are random, so that there is one optimum."""
    draw = random.Random(5)
    candidates = [[(f"k{draw.randrange(60)}", -draw.random()) for _ in range(4)] for _ in range(100)]
    order = draw.sample(range(100), 100)
    shuffled = assign([candidates[item] for item in order])
    straight = assign(candidates)
    assert [straight[item] for item in order] == shuffled


def test_a_crowd_that_wants_the_same_few_keys_is_quick() -> None:
    """Prevents quadratic time where a weak generator proposes the same names to everyone (was: minutes)."""
    draw = random.Random(5)
    candidates = [[(f"k{draw.randrange(300)}", -draw.random()) for _ in range(8)] for _ in range(3000)]
    started = time.perf_counter()
    chosen = assign(candidates)
    assert time.perf_counter() - started < 20
    assert sum(index >= 0 for index in chosen) == 300
