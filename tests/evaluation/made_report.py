"""Metrics and users made by hand, in the shape that `evaluate` gives: a page of every part without an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation.arrays import Cases
from components.evaluation.contenders import CONTENDERS, VARIANTS
from components.evaluation.examples import Example, Item
from components.evaluation.figures import breadth_intervals, by_slice, compare, figures, rounded
from components.evaluation.other_ties import OtherTies
from components.evaluation.voice_figures import Apart, in_detail
from components.evaluation.voices import HYBRID, MIXTURE, beside
from components.storage.ragged import Ragged

USERS, CATALOGUE, DEPTH, KS = 900, 400, 20, [5, 10, 20]
TRUST: dict[str, Any] = {
    "validation": {
        "passed": True,
        "checks": 25,
        "skipped": 2,
        "not_met": [
            {"name": "few_ties_in_time", "severity": "warning", "found": "Observed 0.66, at most 0.5."},
            {"name": "text_without_markup", "severity": "info", "found": "Observed 0.02, at most 0.01."},
        ],
    },
    "warnings": [
        ["ingest", "12 of 320 records of the interactions are set aside: 12 have no id (row 3, row 77)."],
        ["validate", "few_ties_in_time: Few users have their last two items at the same time. Mend: bring times."],
    ],
    "set_aside": {"interactions": {"records": 320, "kept": 308, "set_aside": {"missing_id": 12}}},
    "removed": {"interactions": {"in": 308, "removed": {"repeat": 8, "k_core": 50}, "kept": 250}},
    "raw_files": ["ratings.csv", "items <b>.csv"],
    "times": ["2014-01-01 00:00:00", "2014-07-23 00:00:00"],
    "data_digest": "5a17" * 16,
    "settings_digest": "be11" * 16,
    "train_key": "f00d" * 16,
    "versions": {"idiom": "0.1.0", "torch": "2.13.0"},
}


def metrics(*, found: float = 0.2, seed: int = 3, users: int = USERS, trust: dict[str, Any] | None = None) -> Any:
    """Of a model that finds a share `found` of the targets, beside an item graph that finds .25 and popularity .08."""
    random = np.random.default_rng(seed)
    asked = _cases(random, users)
    hit = random.random(users)
    shares = dict(zip(CONTENDERS, [found, 0.25, *[0.08] * len(CONTENDERS)], strict=False))
    places = {
        who: np.where(hit + random.normal(0, 0.05, users) < share, random.integers(1, DEPTH + 1, users), 0)
        for who, share in shares.items()
    }
    lists = {who: _lists(asked, rank, random) for who, rank in places.items()}
    both = dict.fromkeys(VARIANTS, lists)
    protocol = {"training": "strict", "headline": "masked", "headline_k": 10, "ties": "shuffle", "depth": DEPTH}
    protocol |= {"scores": "trie", "beams": 20, "length_penalty": 0.0, "seed": 17}
    protocol |= {"test_users": users, "all_test_users": users, "catalogue_items": CATALOGUE}
    return rounded(
        {
            "protocol": protocol,
            "facts": {"chosen round": 2, "training steps": 1200},
            "trust": TRUST if trust is None else trust,
            **{variant: figures(asked, KS, both[variant], places) for variant in VARIANTS},
            **compare(places, KS, seed),
            "breadth_intervals": breadth_intervals(asked, KS, lists),
            "slices": by_slice(asked, places, 10, seed),
            "ties": {"order": "shuffle", "other": None},
        }
    )


def with_voices(made: dict[str, Any], *, seed: int = 5) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics with voices, and what voices.json holds beside them: a graph that the ranker needs, a text that it
    does not, both orders of ties."""
    random = np.random.default_rng(seed)
    asked = _cases(np.random.default_rng(3), made["protocol"]["test_users"])
    users = len(asked.user_ids)
    shares = {"graph": 0.25, "text": 0.05, HYBRID: 0.3, "generate": 0.2, MIXTURE: 0.31}
    hit = random.random(users)
    places = {
        name: np.where(hit + random.normal(0, 0.05, users) < share, random.integers(1, DEPTH + 1, users), 0)
        for name, share in shares.items()
    }
    lists = {name: _lists(asked, rank, random) for name, rank in places.items()}
    ranker = places[HYBRID]
    gone = np.where(random.random(users) < 0.7, ranker, 0)
    apart = Apart(ranker, {"graph": gone, "text": ranker}, {"graph": ranker > 0, "text": gone > 0})
    graph, both = FirstItems(lists["graph"], asked), dict.fromkeys(VARIANTS, places)
    other = OtherTies("file", asked, {}, {"graph": graph, HYBRID: graph})

    def ask(cases: Cases, name: str, recommender: Any) -> np.ndarray:
        return np.asarray(recommender.lists)

    refit: dict[str, Any] = {"graph": graph, HYBRID: graph}
    voices = in_detail(asked, lists, both, made["protocol"], apart, other, ask, 17, refit)
    short = beside(both, places["generate"], "masked", 10, 17) | {"mode": "rank", "adds": voices["adds"]}
    return rounded({**made, "voices": short}), rounded(voices)


@dataclass
class FirstItems:
    """Stands for a recommender: `lists` for `asked`."""

    lists: np.ndarray
    asked: Cases


def examples() -> list[Example]:
    """Three users: a hit, a miss, and one without a history."""
    title = "Title <b>of</b> {n} & more, a long one that says what it is"
    items = [Item(f"i{n}", title.format(n=n), f"words of {n}") for n in range(12)]
    hit = Item("i3", items[3].title, items[3].words, hit=True)
    return [
        Example("u1", "drawn at random", tuple(items), (*items[4:7], hit), hit, 4),
        Example("u<2>", "drawn among the users without a hit", tuple(items[:2]), tuple(items[5:10]), items[11], None),
        Example("u3", "drawn at random", (), (), items[0], None),
    ]


def _cases(random: np.random.Generator, users: int) -> Cases:
    popular = 1 / np.arange(1, CATALOGUE + 1)
    prompts = [random.choice(CATALOGUE, size=n, replace=False) for n in random.integers(1, 30, users)]
    train = Ragged.of([row.tolist() for row in prompts])
    targets = random.choice(CATALOGUE, size=users, p=popular / popular.sum())
    names = tuple(f"u{n:04}" for n in range(users)), tuple(f"i{n}" for n in range(CATALOGUE))
    return Cases(names[1], names[0], train, train, targets=targets)


def _lists(asked: Cases, rank: np.ndarray, random: np.random.Generator) -> np.ndarray:
    lists = np.stack([random.permutation(CATALOGUE)[:DEPTH] for _ in rank])
    rows = np.flatnonzero(rank)
    lists[rows, rank[rows] - 1] = asked.targets[rows]
    return lists
