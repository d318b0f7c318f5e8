"""How often the gate of promotion errs, against promoting whatever is at least as good on paper. Prints one JSON line.

    python -m benchmarks.gates ../shared/data/amazon-beauty                 # two item graphs, two minutes
    python -m benchmarks.gates artifacts/before artifacts/after             # two evaluations of models
    python -m benchmarks.gates made --pairs 20 --users 2000                 # made-up results, seconds

Pairs of models are made from the results of two real ones, user by user, which keeps what decides how hard they are to
tell apart: how rarely a target is found, and how often the two disagree. Of a drawn user, model B gets the better of
the two ranks with a probability of 1/2 (models that are equal), or as much more or less that B is better or worse by a
twentieth on average; A gets the other rank. Drawing `--users` users is one test set.

`false_promotions`: share of equal and worse models that the gate lets through; `missed_improvements`: share of better
ones that it refuses. The same of the rule "not below the champion" under `point_estimate`, and of each kind apart.
Item graphs: one counts all training histories, the other those of half of the users.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import facts
from components.evaluation.comparison.paired import paired
from components.evaluation.comparison.sides import read
from components.evaluation.gates import Evidence, decide
from components.evaluation.metrics import ndcg, ranks
from components.recommender.catalogue import Catalogue
from components.settings.decoding import Decoding
from components.settings.operating import Promote
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.learned import Learned
from components.voices.load import build

K, DEPTH = 10, 20
BETTER = 0.05
"""How much better a better model is, on average over all users there are."""


def of_folders(a: Path, b: Path) -> np.ndarray:
    """[users, 2] ranks of two evaluations, of users with the same target."""
    sides = [read(folder, name=str(folder)).users.select("user_id", "target", "rank") for folder in (a, b)]
    joined = sides[0].join(sides[1], on=["user_id", "target"])
    return joined.select("rank", "rank_right").to_numpy()


def of_graphs(data: Path, *, seed: int) -> np.ndarray:
    """[users, 2] ranks of the last items by two item graphs."""
    histories: dict[str, list[tuple[int, str]]] = {}
    with gzip.open(data / "interactions.tsv.gz", "rt", encoding="utf-8") as stream:
        next(stream)
        for line in stream:
            user, item, place, *_ = line.rstrip("\n").split("\t")
            histories.setdefault(user, []).append((int(place), item))
    rows = [[item for _, item in sorted(each)] for each in histories.values() if len(each) > 2]
    ids = sorted({item for row in rows for item in row})
    table = IdTable(tuple(ids), tuple(ids), tuple((number,) for number in range(len(ids))))
    catalogue, number = Catalogue(table), {item: at for at, item in enumerate(ids)}
    half = np.random.default_rng(seed).random(len(rows)) < 0.5
    found = []
    for taught in (np.ones(len(rows), dtype=bool), half):
        known = Ragged.of([[number[item] for item in row[:-1]] for row, one in zip(rows, taught, strict=True) if one])
        answers = build("item_graph", Learned(catalogue, known)).recommend(
            [row[:-1] for row in rows], DEPTH, Decoding()
        )
        lists = np.full((len(rows), DEPTH), -1)
        for at, answer in enumerate(answers):
            lists[at, : len(answer)] = [number[each.item_id] for each in answer]
        found.append(ranks(lists, np.array([number[row[-1]] for row in rows])))
    return np.stack(found, axis=1)


def made_up(*, seed: int) -> np.ndarray:
    """[users, 2] ranks of two models that find a tenth of the targets and agree on most."""
    random = np.random.default_rng(seed)
    a = np.where(random.random(5000) < 0.1, random.integers(1, 21, 5000), 0)
    return np.stack([a, np.where(random.random(5000) < 0.9, a, np.roll(a, 1))], axis=1)


def chance(results: np.ndarray, better: float) -> float:
    """Probability with which B has to get the better of the two ranks to be better than A by the share `better`."""
    a, b = ndcg(results[:, 0], K), ndcg(results[:, 1], K)
    apart, level = np.abs(a - b).mean(), (a + b).mean() / 2
    gain = better * level / (apart * (2 + better))
    if abs(gain) > 0.5:
        raise ValueError(f"the two results are too much alike to make models of that differ by {better:.0%}")
    return float(0.5 + gain)


def measure(results: np.ndarray, better: float, pairs: int, users: int, rules: Promote, seed: int) -> dict[str, float]:
    """Shares of `pairs` simulated pairs that the gate, and the rule "not below the champion", let through."""
    values = np.sort(ndcg(results, K), axis=1)
    random, b_wins = np.random.default_rng(seed), chance(results, better)
    gate = point = 0
    for number in range(pairs):
        drawn = values[random.integers(0, len(values), users)]
        won = random.random(users) < b_wins
        a, b = np.where(won, drawn[:, 0], drawn[:, 1]), np.where(won, drawn[:, 1], drawn[:, 0])
        found = paired(a, b, seed=number, flips=0)
        gate += decide(rules, Evidence(f"ndcg_at_{K}", users, found.b, champion=found)).accepted
        point += found.difference >= 0
    return {"gate": gate / pairs, "point_estimate": point / pairs}


def run(results: np.ndarray, *, pairs: int, users: int, seed: int = 17, **rules: Any) -> dict[str, Any]:
    """All kinds of pairs."""
    settings = Promote(**{"min_own_words": 0.0, **rules})  # made-up models write no IDs
    passed = {
        kind: measure(results, better, pairs, users, settings, seed + 1)
        for kind, better in (("equal", 0.0), ("better", BETTER), ("worse", -BETTER))
    }
    a, b = ndcg(results[:, 0], K), ndcg(results[:, 1], K)

    def errors(way: str) -> dict[str, float]:
        wrong = (passed["equal"][way] + passed["worse"][way]) / 2
        return {"false_promotions": round(wrong, 4), "missed_improvements": round(1 - passed["better"][way], 4)}

    return {
        "benchmark": "gates",
        **errors("gate"),
        "point_estimate": errors("point_estimate"),
        "passed": {kind: each["gate"] for kind, each in passed.items()},
        "passed_point_estimate": {kind: each["point_estimate"] for kind, each in passed.items()},
        "pairs_of_each_kind": pairs,
        "users": users,
        "confidence": settings.confidence,
        "margin": settings.margin,
        "results": {
            "users": len(results),
            f"ndcg_at_{K}": [round(float(a.mean()), 4), round(float(b.mean()), 4)],
            "deviation_of_difference": round(float((a - b).std()), 4),
            "share_that_differs": round(float((a != b).mean()), 4),
        },
        **facts(),
    }


def results_of(given: Sequence[str], seed: int) -> np.ndarray:
    """What the command line names."""
    if list(given) == ["made"]:
        return made_up(seed=seed)
    if len(given) == 1:
        return of_graphs(Path(given[0]), seed=seed)
    return of_folders(Path(given[0]), Path(given[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("of", nargs="+", help="a data folder, two folders of artifacts, or: made")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--confidence", type=float, default=Promote().confidence)
    parser.add_argument("--margin", type=float, default=Promote().margin)
    given = parser.parse_args()
    results = results_of(given.of, seed=17)
    found = run(results, pairs=given.pairs, users=given.users, confidence=given.confidence, margin=given.margin)
    print(json.dumps({**found, "of": [Path(each).name for each in given.of]}))


if __name__ == "__main__":
    main()
