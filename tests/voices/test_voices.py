"""Voices against a slow reading of their definition, and against the figures measured on real data."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.evaluation.arrays import Cases, cases
from components.evaluation.metrics import ndcg, ranks, recall
from components.recommender.catalogue import Catalogue
from components.settings.decoding import Decoding
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build
from components.voices.voice import Voice
from tests.evaluation.test_arrays import LIST, random_cases, targets


def voice_of(name: str, asked: Cases) -> Voice:
    """A voice built from what the cases allow to learn from."""
    table = IdTable(asked.item_ids, asked.item_ids, tuple((number,) for number in range(len(asked.item_ids))))
    return build(name, Learned(Catalogue(table), asked.train))


def lists(name: str, asked: Cases, depth: int, *, mask_seen: bool) -> list[list[int]]:
    """Item numbers that a voice answers the prompts of all cases with."""
    found = voice_of(name, asked).recommend(asked.prompt_ids(), depth, Decoding(mask_seen=mask_seen))
    return [[asked.item_ids.index(each.item_id) for each in row] for row in found]


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
    fast = lists("item_graph", asked, 6, mask_seen=mask_seen)
    assert fast == slow_item_graph(asked, 6, mask_seen=mask_seen)


def test_popularity_counts_training_items_only_and_breaks_ties_by_id() -> None:
    """Prevents a baseline that has seen validation or test items, and an order that changes between runs."""
    asked = cases(
        pl.DataFrame({"item_id": ["a", "b", "c", "d"]}),
        pl.DataFrame({"user_id": ["u", "v"], "history": [["c", "b"], ["c"]]}),
        targets([[], []], ["d", "d"], ["u", "v"]),
        targets([["d"], ["d"]], ["a", "a"], ["u", "v"]),
    )
    assert lists("popularity", asked, 3, mask_seen=False) == [[2, 1]] * 2
    assert asked.counts.tolist() == [0, 1, 2, 0]


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
    voice, number = voice_of("item_graph", asked), {item: place for place, item in enumerate(asked.item_ids)}
    for mask_seen, figures in ((True, (0.0853, 0.0533)), (False, (0.0793, 0.0480))):
        found = voice.recommend(asked.prompt_ids(), 10, Decoding(mask_seen=mask_seen))
        places = [[number[each.item_id] for each in row] + [-1] * (10 - len(row)) for row in found]
        rank = ranks(np.array(places), asked.targets)
        assert (round(recall(rank, 10).mean(), 4), round(ndcg(rank, 10).mean(), 4)) == figures
