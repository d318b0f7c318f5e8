"""Experts and averages: what is combined, by which gates, and what is refused. The contract of every recommender is
asked in tests/recommender/test_every_recommender.py."""

from __future__ import annotations

import numpy as np
import pytest

from components.ranking.experts import Experts, gates_by_text, summed
from components.voices.lists import Listed


def listed(rows: dict[int, dict[int, float]]) -> Listed:
    owners = [user for user, items in rows.items() for _ in items]
    items = [item for each in rows.values() for item in sorted(each)]
    scores = [np.log(each[item]) for each in rows.values() for item in sorted(each)]
    return Listed(np.array(owners, np.int64), np.array(items, np.int64), np.array(scores, np.float32))


def test_probabilities_are_summed_by_their_gates() -> None:
    """Prevents log-probabilities that are added, and an item of one expert that is lost."""
    both = summed([(0.75, listed({0: {1: 0.4, 2: 0.2}})), (0.25, listed({0: {2: 0.8}, 1: {3: 0.1}}))], items=5)
    assert both.owners.tolist() == [0, 0, 1] and both.items.tolist() == [1, 2, 3]
    assert np.exp(both.scores) == pytest.approx([0.3, 0.35, 0.025])
    with pytest.raises(ValueError, match="0 experts"):
        Experts(None, [], [])  # type: ignore[arg-type]


def test_the_nearer_catalogue_has_the_larger_gate() -> None:
    """Prevents a gate by the size of a catalogue, or by words that all have."""
    tools, toys = ["steel hammer the", "steel saw the", "drill the"], ["the soft bear", "the toy train", "the doll"] * 9
    gates = gates_by_text(["the saw of steel", "the hammer"], {"toys": toys, "tools": tools})
    assert gates["tools"] > 0.9 and sum(gates.values()) == pytest.approx(1.0)
    assert gates_by_text(["nothing alike"], {"toys": toys, "tools": tools}) == {"toys": 0.5, "tools": 0.5}
