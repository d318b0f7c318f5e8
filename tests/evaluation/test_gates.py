"""The rules of promotion: each one refuses for its own reason and says by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.evaluation.comparison.paired import Paired, paired
from components.evaluation.gates import Evidence, decide
from components.settings.operating import Promote


def difference(better: float, users: int = 4000, seed: int = 1) -> Paired:
    """A version that finds a share `better` of the users anew (negative: loses them) against a champion with 0.2."""
    random = np.random.default_rng(seed)
    a = (random.random(users) < 0.2).astype(float)
    touched = random.random(users) < abs(better)
    return paired(a, np.where(touched, float(better > 0), a), seed=seed)


BETTER, WORSE, EQUAL = difference(0.03), difference(-0.2), difference(0.0)
GOOD = Evidence(
    metric="ndcg_at_10", users=4000, value=0.22, taught=3, champion=BETTER, slices={"target: cold": BETTER},
    baselines={"popularity": difference(0.1), "item_graph": BETTER}, latency_ms=20.0, champion_latency_ms=15.0,
    validation=0.2, bundle_mb=40.0, memory_mb=900.0, churn=0.2, own_words=0.9, served_otherwise="",
)  # fmt: skip


def refused(rules: Promote, found: Evidence) -> dict[str, str]:
    """Rule -> text of those that refuse."""
    decision = decide(rules, found)
    assert decision.accepted == (not decision.refusals)
    assert [each.passed for each in decision.reasons] == sorted(each.passed for each in decision.reasons)
    return {each.rule: each.text for each in decision.refusals}


def test_a_better_version_is_accepted_and_every_rule_says_so() -> None:
    """Prevents a gate that refuses all, and a decision without reasons."""
    strict = Promote(slices={"target: cold": 0.0}, max_latency_ms=30, max_latency_ratio=2, max_bundle_mb=50,
                     max_memory_mb=1000, max_churn=0.5, min_own_words=0.8, min_quality=0.2)  # fmt: skip
    decision = decide(strict, GOOD)
    assert decision.accepted
    assert {each.rule for each in decision.reasons} == {
        "users", "quality", "tables", "too good", "fresh", "champion", "slice target: cold", "baseline", "latency",
        "latency to champion", "size", "memory", "ID table", "churn", "own words", "served",
    }  # fmt: skip
    assert all(each.to_spare is None or each.to_spare >= 0 for each in decision.reasons)
    plain = decision.plain()
    assert plain["accepted"] is True and len(plain["reasons"]) == 16


@pytest.mark.parametrize(
    ("rules", "change", "rule", "said"),
    [
        ({"min_users": 5000}, {}, "users", "4,000 users to judge by, at least 5,000"),
        ({"min_quality": 0.3}, {}, "quality", "NDCG@10 0.2200, at least 0.3000"),
        ({}, {"champion": WORSE}, "champion", "against the champion's"),
        ({}, {"champion": EQUAL}, "champion", "lower bound +0.0000"),
        ({"slices": {"target: cold": 0.0}}, {"slices": {"target: cold": WORSE}}, "slice target: cold", "target: cold"),
        ({"slices": {"target: lost": 0.0}}, {}, "slice target: lost", "no user is in it"),
        ({"slices": {"target: cold": 0.0}}, {"slices": {"target: cold": difference(1.0, 20)}}, "slice target: cold",
         "20 users are too few to tell"),
        ({}, {"baselines": {"item_graph": WORSE}}, "baseline", "a model without training would do better: the item"),
        ({}, {"validation": 0.1}, "too good", "2.20 times its 0.1000 on validation, at most 2.00: was it taught"),
        ({"max_latency_ms": 10}, {}, "latency", "20.0 ms a user, at most 10.0"),
        ({"max_latency_ratio": 1.2}, {}, "latency to champion", "1.3 times the champion's latency, at most 1.2"),
        ({"max_bundle_mb": 30}, {}, "size", "40.0 MB of bundle, at most 30.0"),
        ({"max_memory_mb": 800}, {}, "memory", "900.0 MB of memory, at most 800.0"),
        ({"max_memory_mb": 800}, {"memory_mb": None}, "memory", "not measured"),
        ({}, {"broken_rules": ["unique as words"]}, "ID table", "breaks its contract: unique as words"),
        ({"max_churn": 0.5}, {"churn": None}, "churn", "IDs changed: not measured, at most 50.0% allowed"),
        ({"max_churn": 0.1}, {}, "churn", "20.0% IDs changed, at most 10.0%"),
        ({"min_own_words": 0.95}, {}, "own words", "90.0% of the words of the IDs"),
        ({}, {"own_words": 0.1, "own_words_by_chance": 0.08}, "own words", "not those of their items: 10.0%"),
        ({}, {"own_words": None}, "own words", "not measured, at least 50.0% needed; register it again"),
        ({}, {"other_tables": ["histories of the ranker"]}, "tables", "may hold the targets: histories of the ranker"),
        ({}, {"other_tables": None}, "tables", "it does not say from which tables it learned"),
        ({}, {"in_history": 7}, "taught", "the targets of 7 users stand in their own histories"),
        ({}, {"served_otherwise": "user u1 gets i2 first, not i1"}, "served", "user u1 gets i2"),
    ],
)  # fmt: skip
def test_each_rule_refuses_alone_and_says_why(rules: Any, change: Any, rule: str, said: str) -> None:
    """Prevents a rule that is written down and never asked, and a refusal that names another rule."""
    found = refused(Promote(**rules), replace(GOOD, **change))
    assert list(found) == [rule] and said in found[rule]


def test_a_margin_is_a_share_of_the_champion() -> None:
    """Prevents a margin in points of NDCG, which means another thing in each shop."""
    slightly = replace(GOOD, champion=difference(-0.002))
    assert "champion" in refused(Promote(), slightly)
    assert refused(Promote(), replace(GOOD, churn=None, latency_ms=None, bundle_mb=None, memory_mb=None)) == {}
    assert refused(Promote(margin=0.05), slightly) == {}
    assert "champion" in refused(Promote(margin=0.05), replace(GOOD, champion=WORSE))


def test_protected_slices_are_corrected_together() -> None:
    """Prevents one of many slices that passes by luck: what passes alone must not pass beside nine that say nothing."""
    bound = 0.0
    weak = next(
        each
        for each in (difference(0.003, users=3000, seed=seed) for seed in range(200))
        if 0.006 < each.p_not_above(bound) < 0.02
    )
    alone = Promote(slices={"a": 0.0})
    assert refused(alone, replace(GOOD, slices={"a": weak})) == {}
    many = dict.fromkeys("abcdefghij", weak)
    assert set(refused(Promote(slices=dict.fromkeys(many, 0.0)), replace(GOOD, slices=many))) == {
        f"slice {name}" for name in many
    }


def test_the_first_version_needs_no_champion() -> None:
    """Prevents a registry that never gets its first champion, and one that takes any first version."""
    first = replace(GOOD, champion=None, slices={}, churn=None, champion_latency_ms=None)
    rules = Promote(slices={"target: cold": 0.0}, max_churn=0.1, max_latency_ratio=1.5)
    assert refused(rules, replace(first, users=20)) == {}
    assert set(refused(rules, replace(first, baselines={"item_graph": WORSE}))) == {"baseline"}
    lenient = Promote(known_tables=False, min_own_words=0)
    assert refused(lenient, replace(first, own_words=None, other_tables=None)) == {}


def test_behind_a_baseline_means_clearly_behind() -> None:
    """Prevents a version that is refused for chance, and silence about one that may be behind."""
    two_lost_one_found = np.repeat([-1.0, 1.0, 0.0], [2, 1, 997])
    behind = paired(np.full(1000, 0.5), 0.5 + two_lost_one_found, seed=1)
    unclear = replace(GOOD, baselines={"item_graph": behind})
    decision = decide(Promote(), unclear)
    text = next(each.text for each in decision.reasons if each.rule == "baseline")
    assert decision.accepted and text.startswith("not clearly behind")
    assert refused(Promote(beat_baselines=False), replace(GOOD, baselines={"item_graph": WORSE})) == {}
