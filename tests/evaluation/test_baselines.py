"""Baselines against a slow reading of their definition, and against the figures measured on real data."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.errors import BadInput
from components.evaluation.arrays import Cases, cases
from components.evaluation.baselines import item_graph, popularity
from components.evaluation.metrics import ndcg, ranks, recall

LIST = pl.List(pl.String)


def targets(context: list[list[str]], target: list[str], users: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"user_id": users, "context": context, "target": target}, schema_overrides={"context": LIST})


def random_cases(*, users: int = 30, items: int = 15, refit: bool = False) -> Cases:
    generator = np.random.default_rng(5)
    ids = [f"i{number:02}" for number in range(items)]
    rows = [[ids[item] for item in generator.permutation(items)[: generator.integers(3, items)]] for _ in range(users)]
    names = [f"u{number:02}" for number in range(users)]
    return cases(
        pl.DataFrame({"item_id": ids}),
        pl.DataFrame({"user_id": names, "history": [row[:-2] for row in rows]}, schema_overrides={"history": LIST}),
        targets([[] for _ in rows], [row[-2] for row in rows], names),
        targets([[row[-2]] for row in rows], [row[-1] for row in rows], names),
        refit=refit,
    )


def slow_item_graph(asked: Cases, depth: int, *, mask_seen: bool) -> list[list[int]]:
    """The definition, loop by loop."""
    weight: dict[tuple[int, int], float] = defaultdict(float)
    for history in asked.train:
        n = len(history)
        for a in range(n):
            for b in range(a + 1, min(n, a + 13)):
                step = 0.9 ** (b - a - 1) / math.log2(2 + n)
                weight[int(history[a]), int(history[b])] += step
                weight[int(history[b]), int(history[a])] += step / 2
    count = np.maximum(asked.counts, 1)
    lists = []
    for prompt in asked.prompts:
        score: dict[int, float] = defaultdict(float)
        for age, had in enumerate(prompt[::-1]):
            for (source, candidate), value in weight.items():
                if source == had:
                    score[candidate] += 0.6**age * value / math.sqrt(count[had]) / count[candidate] ** 0.3
        ranked = sorted(score, key=lambda item: (-round(score[item], 9), item))
        lists.append([item for item in ranked if not (mask_seen and item in prompt)][:depth])
    return lists


@pytest.mark.parametrize("mask_seen", [True, False])
def test_item_graph_is_its_definition(mask_seen: bool) -> None:
    """Prevents a fast version that pairs items across users, swaps directions or discounts the wrong count."""
    asked = random_cases()
    fast = item_graph(asked, depth=6, mask_seen=mask_seen)
    assert [[item for item in row if item >= 0] for row in fast.tolist()] == slow_item_graph(
        asked, 6, mask_seen=mask_seen
    )


def test_masking_leaves_nothing_of_the_prompt_and_keeps_the_rest_in_order() -> None:
    """Prevents a masked list that is the unmasked one cut short, or one that still shows what a user has."""
    asked = random_cases()
    for baseline in (popularity, item_graph):
        masked, unmasked = (baseline(asked, depth=15, mask_seen=mask).tolist() for mask in (True, False))
        for some, every, prompt in zip(masked, unmasked, asked.prompts, strict=True):
            kept = [item for item in every if item >= 0 and item not in prompt]
            assert [item for item in some if item >= 0] == kept


def test_popularity_counts_training_items_only_and_breaks_ties_by_id() -> None:
    """Prevents a baseline that has seen validation or test items, and an order that changes between runs."""
    asked = cases(
        pl.DataFrame({"item_id": ["a", "b", "c", "d"]}),
        pl.DataFrame({"user_id": ["u", "v"], "history": [["c", "b"], ["c"]]}),
        targets([[], []], ["d", "d"], ["u", "v"]),
        targets([["d"], ["d"]], ["a", "a"], ["u", "v"]),
    )
    assert popularity(asked, depth=3, mask_seen=False).tolist() == [[2, 1, -1]] * 2
    assert asked.counts.tolist() == [0, 1, 2, 0]


def test_refit_adds_the_validation_items_and_nothing_of_the_test() -> None:
    """Prevents protocols that are mixed: figures of a refit model beside baselines that know less, or test items."""
    strict, refit = random_cases(), random_cases(refit=True)
    # In leave-one-out the refit training sequence is exactly what the test prompt shows.
    assert [row.tolist() for row in refit.train] == [row.tolist() for row in refit.prompts]
    assert [row.tolist() for row in strict.train] == [row[:-1].tolist() for row in strict.prompts]


def test_refit_keeps_contexts_and_users_without_a_validation_item() -> None:
    """Prevents refit counts that lack what lies between history and target, or whole users that were not validated."""
    asked = cases(
        pl.DataFrame({"item_id": ["a", "b", "c", "d"]}),
        pl.DataFrame({"user_id": ["u", "v"], "history": [["a"], ["b", "a"]]}),
        targets([["b"]], ["c"], ["u"]),
        targets([["b", "c"]], ["d"], ["u"]),
        refit=True,
    )
    assert [row.tolist() for row in asked.train] == [[0, 1, 2], [1, 0]]


def test_a_target_outside_the_catalogue_is_named() -> None:
    """Prevents a stale items table from counting as a miss without a word."""
    with pytest.raises(BadInput, match="item 'z' is not in the catalogue"):
        cases(
            pl.DataFrame({"item_id": ["a"]}),
            pl.DataFrame({"user_id": ["u"], "history": [["a"]]}),
            targets([[]], ["a"], ["u"]),
            targets([["a"]], ["z"], ["u"]),
        )


def test_no_test_target_at_all_is_refused() -> None:
    """Prevents a mean over nobody, which is NaN."""
    empty = targets([], [], [])
    with pytest.raises(BadInput, match="no test targets"):
        cases(pl.DataFrame({"item_id": ["a"]}), pl.DataFrame({"user_id": ["u"], "history": [["a"]]}), empty, empty)


def test_the_user_sample_is_the_same_for_every_order_of_rows_and_leaves_training_whole() -> None:
    """Prevents a sample that depends on the order of rows, or baselines that know the sampled users only."""
    items = pl.DataFrame({"item_id": ["a", "b", "c"]})
    names = [f"u{number}" for number in range(50)]
    histories = pl.DataFrame({"user_id": names, "history": [["a", "b"]] * 50})
    test = targets([[]] * 50, ["c"] * 50, names)
    some = cases(items, histories, test, test, max_users=7, seed=1)
    turned = cases(items, histories.reverse(), test.reverse(), test.reverse(), max_users=7, seed=1)
    assert some.user_ids == turned.user_ids == tuple(sorted(some.user_ids))
    assert len(some.user_ids) == 7
    assert some.counts.tolist() == [50, 50, 0]
    assert cases(items, histories, test, test, max_users=7, seed=2).user_ids != some.user_ids


@pytest.mark.real
def test_the_item_graph_reaches_its_measured_figures_on_beauty(shared_data: Path) -> None:
    """Prevents a baseline weaker, so easier to beat, than the one measured before (leave-one-out, strict)."""
    sequences = (
        pl.read_csv(shared_data / "amazon-beauty" / "interactions.tsv.gz", separator="\t")
        .sort("user_id", "pos")
        .group_by("user_id", maintain_order=True)
        .agg("item_id")
    )
    last, before = pl.col("item_id").list.get(-1), pl.col("item_id").list.get(-2)
    valid = sequences.select("user_id", context=pl.lit([], dtype=LIST), target=before)
    test = sequences.select("user_id", context=pl.concat_list(before), target=last)
    histories = sequences.select("user_id", history=pl.col("item_id").list.head(pl.col("item_id").list.len() - 2))
    asked = cases(sequences.select("item_id").explode("item_id").unique(), histories, valid, test)
    for mask_seen, figures in ((True, (0.0853, 0.0533)), (False, (0.0793, 0.0480))):
        rank = ranks(item_graph(asked, depth=10, mask_seen=mask_seen), asked.targets)
        assert (round(recall(rank, 10).mean(), 4), round(ndcg(rank, 10).mean(), 4)) == figures
