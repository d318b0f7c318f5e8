"""The comparison of sides whose ranks are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation.comparison.compare import LEAST_IN_SLICE, compare, judge, warnings
from components.evaluation.metrics import ndcg
from tests.evaluation.comparison.made import PROTOCOL, pair_of_sides, side


def test_overall_difference_is_that_of_the_same_users() -> None:
    """Prevents sides that are joined out of order, or a difference of A minus B."""
    a, b = pair_of_sides()
    backwards = replace(b, users=b.users.reverse())
    found = compare([a, backwards], seed=3)
    expected = ndcg(b.users["rank"].to_numpy(), 10).mean() - ndcg(a.users["rank"].to_numpy(), 10).mean()
    overall = found.pairs[0].overall
    assert list(overall) == ["ndcg_at_10", "recall_at_10", "mrr_at_10"] and found.metric == "ndcg_at_10"
    assert overall["ndcg_at_10"].difference == pytest.approx(expected) and expected > 0
    assert judge(overall["ndcg_at_10"]) == "better"
    value, low, high = found.figures["version 12"]["ndcg_at_10"]
    assert low < value < high and value == pytest.approx(ndcg(b.users["rank"].to_numpy(), 10).mean())
    assert found.figures["item_graph"]["recall_at_10"] == (1.0, 1.0, 1.0)


def test_users_that_cannot_be_compared_are_counted_by_reason() -> None:
    """Prevents users that vanish in an inner join, and users compared by different targets."""
    a, b = pair_of_sides(users=300)
    users = b.users.with_columns(
        target=pl.when(pl.col("user_id") == "u00007").then(pl.lit("i059")).otherwise("target"),
        prompt=pl.when(pl.col("user_id") == "u00008")
        .then(pl.concat_list("prompt", pl.lit("i001")))
        .otherwise("prompt"),
    )
    found = compare([replace(a, users=a.users[:280]), replace(b, users=users[5:])], seed=3)
    assert dict(found.left_out) == {
        "not in every evaluation": 5 + 20,
        "asked for another target": 1,
        "compared, though the histories differ": 1,
    }
    assert len(found.users) == 300 - 26 and "u00007" not in found.users["user_id"]


def test_slices_are_corrected_as_one_family_and_small_ones_are_not_judged() -> None:
    """Prevents one lucky slice of twelve that is called better, and a verdict on ninety users."""
    a, b = pair_of_sides()
    slices = compare([a, b], seed=3).pairs[0].slices
    assert sum(each.found.users for each in slices if each.slicing == "history length") == 1200
    assert [each.found.difference for each in slices] == sorted(
        (each.found.difference for each in slices), reverse=True
    )
    rare = next(each for each in slices if each.name == "rare")
    assert rare.found.users < LEAST_IN_SLICE and not rare.judged and rare.verdict == "too few users"
    judged = [each for each in slices if each.judged]
    assert len(judged) == 3
    for each in judged:
        assert each.p_holm is not None and each.p_holm >= each.found.p
    assert {each.verdict for each in judged} <= {"better", "no clear difference"}


def test_three_sides_are_each_compared_with_the_first() -> None:
    """Prevents a third side that is compared with the second, or users of two sides only."""
    a, b = pair_of_sides(users=400)
    c = side("version 13", np.ones(350, dtype=int))
    found = compare([a, b, c], seed=3)
    assert [pair.side for pair in found.pairs] == [1, 2] and len(found.users) == 350
    assert found.ranks(2).tolist() == [1] * 350
    assert found.pairs[1].overall["recall_at_10"].a == found.pairs[0].overall["recall_at_10"].a


def test_what_cannot_be_compared_is_refused() -> None:
    """Prevents masked figures beside unmasked ones, a side beside itself, and a comparison of nobody."""
    a, b = pair_of_sides(users=200)
    for sides, said in (
        ([a, replace(b, protocol={**PROTOCOL, "headline": "unmasked"})], "judged masked"),
        ([a, a], "named twice"),
        ([a], "nothing to compare"),
        ([a, replace(b, users=b.users.with_columns(user_id="x" + pl.col("user_id")))], "no user"),
    ):
        with pytest.raises(BadInput, match=said):
            compare(sides, seed=3)


def test_other_protocols_are_said() -> None:
    """Prevents a refitted version beside a strict one, as if both had been taught the same."""
    a, b = pair_of_sides(users=200)
    refit = replace(b, protocol={**PROTOCOL, "training": "refit"})
    assert warnings([a, b]) == []
    assert warnings([a, refit]) == ["The protocol differs: strict for version 11, refit for version 12."]


def test_few_users_give_no_verdict() -> None:
    """Prevents a decision from a handful of users that happen to agree."""
    found = compare([side("a", np.zeros(20, dtype=int)), side("b", np.ones(20, dtype=int))], seed=3)
    assert judge(found.pairs[0].overall["ndcg_at_10"]) == "too few users"
