"""Are the reasons beside recommendations true, and are they the reasons?

    python -m benchmarks.explanations WORKSPACE                   # after its stage `rank`
    python -m benchmarks.explanations --dataset amazon-beauty     # a ranker without a language model, on ../shared/data

Prints one JSON line. `true_share`: every clause beside the ten best of every test user (`--users`) is counted anew from
the clean tables, by code that knows nothing of the ranker. `faithful_share`, of some users (`--deleted`):
of the results that cite an item of the history, how many fall further when that item is deleted than when another one
of it, drawn at random, is: in the list that is recommended then, from which the items of the whole history are
left out; where both ranks are equal, in the share of probability. `cpu_ms_...`: for a user, one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.shop import read, settings
from components.console import Console
from components.evaluation.arrays import Cases, cases
from components.progress import reporting
from components.ranking.clauses import LEAST_PEOPLE, Clause
from components.ranking.explaining import explainer
from components.ranking.facts import POPULAR_SHARE, REACH
from components.ranking.hybrid import Hybrid
from components.ranking.lists import Held
from components.ranking.load import modes
from components.ranking.modes import Choice, Modes
from components.ranking.teaching import teach
from components.recommender.catalogue import Catalogue
from components.recommender.interface import Recommendation, Recommender
from components.recommender.pair import FACTS, published_table
from components.settings.decoding import Decoding
from components.settings.file import load as load_params
from components.storage import parquet
from components.storage.artifacts import read_json
from components.storage.job import from_json
from components.storage.layout import Layout
from components.textid.words.normal import split

ROOT = Path(__file__).resolve().parents[1]
K = 10
DEEP = 400
"""Results among which a rank is looked up: more than a user has candidates."""


@dataclass(frozen=True)
class Asked:
    """Whom to ask, whom, and the tables that decide what is true."""

    recommender: Recommender
    hybrid: Hybrid
    decoding: Decoding
    cases: Cases
    items: pl.DataFrame
    histories: list[list[str]]
    """Those that the ranker's voices learned from."""
    relations: pl.DataFrame | None = None
    """head, relation, tail: those of the items, where there are some."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, nargs="?", help="a workspace after its stage `rank`")
    parser.add_argument("--dataset", help="instead: a folder of --data, for which a ranker is taught")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--mode", choices=("generate", "rank", "hybrid"), help="who answers (default: as validation chose)"
    )
    parser.add_argument("--users", type=int, default=0, help="test users whose clauses are verified (0: all)")
    parser.add_argument(
        "--deleted", type=int, default=300, help="of these, users from whose histories items are deleted"
    )
    parser.add_argument("--taught", type=int, default=4000, help="users that the ranker of --dataset learns from")
    chosen = parser.parse_args()
    if bool(chosen.workspace) == bool(chosen.dataset):
        parser.error("give a workspace or --dataset, one of them")
    with tempfile.TemporaryDirectory() as folder, reporting(Console()) as progress:
        asked = of_workspace(chosen) if chosen.workspace else of_dataset(chosen, Path(folder), progress)
        found = measure(asked, chosen.deleted)
    of = {"dataset": chosen.dataset or str(chosen.workspace), "mode": chosen.mode or "as chosen"}
    print(json.dumps({"benchmark": "explanations", **of, **found, **machine.facts()}))


def of_workspace(chosen: argparse.Namespace) -> Asked:
    """The artifacts of a workspace, as the stage `evaluate` reads them."""
    params = load_params(chosen.workspace / "params.yaml")
    layout = Layout(chosen.workspace.resolve(), params.dataset)
    items = pl.DataFrame(parquet.read(layout.items_clean))
    paths = (layout.histories, layout.valid_targets, layout.test_targets)
    histories, valid, test = (pl.DataFrame(parquet.read(path)) for path in paths)
    table = published_table(layout.pair, layout.id_table, items["item_id"].to_list())
    titles = dict(items.select("item_id", "title").iter_rows())
    catalogue = Catalogue(table, titles, drop_repeats=params.clean.drop_repeats)
    choice = from_json(Choice, read_json(layout.mode))
    recommender: Modes = modes(layout.pair, layout.hybrid, choice, catalogue=catalogue)
    refit = bool(read_json(layout.pair / FACTS)["refit"])
    asked = cases(items, histories, valid, test, refit=refit, max_users=chosen.users, seed=params.seed)
    decoding = replace(Decoding.of(vars(params.evaluate)), mode=chosen.mode or params.evaluate.mode)
    relations = pl.DataFrame(parquet.read(layout.relations)) if layout.relations.is_file() else None
    return Asked(recommender, recommender.ranker, decoding, asked, items, _rows(asked), relations)


def of_dataset(chosen: argparse.Namespace, folder: Path, progress: Any) -> Asked:
    """A ranker over the default voices, taught with few users and epochs: reasons do not need the last percent."""
    raw = chosen.data / chosen.dataset
    params = settings(ROOT / "params" / f"{chosen.dataset}.yaml", raw)
    shop = read(params, raw, folder, "file")
    valid = shop.cases(refit=False, on="valid", max_users=0, seed=params.seed)
    learned = replace(shop.learned(valid), seed=params.seed)
    rank = replace(params.rank, most_users=chosen.taught, epochs=6)
    core = params.clean.min_item_interactions if params.clean.core == "all" else 0
    held = Held(valid.prompts, valid.prompt_days, valid.targets)
    taught = teach(learned, held, rank, params.voices, core=core, progress=progress)
    hybrid = Hybrid.of(taught.choice.ranker, taught.reader, learned.catalogue, params.voices).with_facts(learned)
    asked = shop.cases(refit=False, on="test", max_users=chosen.users, seed=params.seed)
    return Asked(hybrid, hybrid, Decoding(), asked, shop.items, _rows(asked))


def _rows(asked: Cases) -> list[list[str]]:
    return [[asked.item_ids[item] for item in row] for row in asked.train]


def measure(asked: Asked, deleted: int) -> dict[str, Any]:
    """Both figures."""
    explain = explainer(asked.recommender, asked.decoding)
    assert explain is not None
    prompts, times = asked.cases.prompt_ids(), asked.cases.prompt_times()
    started = time.process_time()
    answers = asked.recommender.recommend(prompts, K, asked.decoding, None, times)
    recommended = time.process_time()
    results = [[each.item_id for each in row] for row in answers]
    why = explain.of(prompts, results, times)
    explained = time.process_time()
    tables = Tables.of(asked.items, asked.histories, asked.relations)
    said = [
        (clause, result)
        for row, each in zip(why, results, strict=True)
        for clauses, result in zip(row, each, strict=True)
        for clause in clauses
    ]
    false = [(clause, result) for clause, result in said if not tables.true(clause, result)]
    for clause, result in false[:5]:
        print(f"false: {clause} of {result}", file=sys.stderr)
    users, results_of = len(prompts), sum(map(len, results))
    some = np.sort(np.random.default_rng(17).permutation(users)[:deleted])
    return {
        "users": users,
        "results": results_of,
        "clauses": len(said),
        "true_share": round(1 - len(false) / max(len(said), 1), 6),
        "kinds": dict(Counter(clause.kind for clause, _ in said).most_common()),
        "cite_an_item_share": round(
            sum(clauses[0].item is not None for row in why for clauses in row) / max(results_of, 1), 4
        ),
        **faithful(
            asked,
            [prompts[user] for user in some],
            [times[user] for user in some],
            [why[user] for user in some],
            [results[user] for user in some],
        ),
        "cpu_ms_recommend": round(1000 * (recommended - started) / users, 2),
        "cpu_ms_explain": round(1000 * (explained - recommended) / users, 2),
    }


class Tables:
    """The clean tables, looked at the slow way."""

    def __init__(
        self,
        items: Mapping[str, Mapping[str, Any]],
        histories: Sequence[Sequence[str]],
        relations: pl.DataFrame | None = None,
    ) -> None:
        self.items, self.histories = items, histories
        self.tails: dict[tuple[str, str], set[str]] = {}
        for head, relation, tail in () if relations is None else relations.select("head", "relation", "tail").rows():
            self.tails.setdefault((head, relation), set()).add(tail)
        self.having: dict[str, set[int]] = {}
        for person, history in enumerate(histories):
            for item in history:
                self.having.setdefault(item, set()).add(person)
        self.titles = {item: set(split(row.get("title") or "")) for item, row in items.items()}
        self.times = Counter(word for words in self.titles.values() for word in words)
        self.people = Counter(len(self.having.get(item, ())) for item in items)

    @classmethod
    def of(
        cls, items: pl.DataFrame, histories: Sequence[Sequence[str]], relations: pl.DataFrame | None = None
    ) -> Tables:
        return cls({row["item_id"]: row for row in items.iter_rows(named=True)}, histories, relations)

    def true(self, clause: Clause, result: str) -> bool:
        """Whether the tables say so, to the last person."""
        if clause.kind == "none":
            return clause.item is None and clause.people is None and not clause.words
        if clause.kind == "popular":
            people = len(self.having[result])
            above = sum(count for more, count in self.people.items() if more > people)
            return people == clause.people and people >= LEAST_PEOPLE and above < POPULAR_SHARE * len(self.items)
        assert clause.item is not None
        had, item = self.items[clause.item], self.items[result]
        brand = bool(had.get("brand")) and had["brand"] == item.get("brand")
        kind = bool(had.get("categories")) and had["categories"] == item.get("categories")
        if clause.kind in ("next", "together"):
            reach = 1 if clause.kind == "next" else REACH
            found = sum(
                self._stand(person, clause.item, result, reach, clause.kind == "next")
                for person in self.having[clause.item] & self.having[result]
            )
            return found == clause.people and found >= LEAST_PEOPLE
        if clause.kind == "words":
            both = self.titles[clause.item] & self.titles[result]
            return bool(clause.words) and set(clause.words) <= both
        if clause.kind == "relation":
            shared = (
                self.tails.get((clause.item, name), set()) & self.tails.get((result, name), set())
                for name in clause.words
            )
            return bool(clause.words) and all(shared)
        return {"brand_and_kind": brand and kind, "brand": brand, "kind": kind}[clause.kind]

    def _stand(self, person: int, had: str, result: str, reach: int, ordered: bool) -> bool:
        """Whether a person took both near each other, the result later if `ordered`."""
        history = self.histories[person]
        one, other = ([at for at, item in enumerate(history) if item == each] for each in (had, result))
        return any(0 < (b - a if ordered else abs(b - a)) <= reach for a in one for b in other)


def faithful(
    asked: Asked,
    prompts: Sequence[Sequence[str]],
    times: Sequence[Sequence[float] | None],
    why: Sequence[Sequence[Sequence[Clause]]],
    results: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """How many results fall further without the cited item than without another one."""
    draw, catalogue = np.random.default_rng(3), asked.recommender.catalogue
    rows = [catalogue.canonical(prompt) for prompt in prompts]
    wanted: dict[tuple[int, str], int] = {}
    pairs = []
    for user, row in enumerate(rows):
        distinct = list(dict.fromkeys(row))
        for clauses, result in zip(why[user], results[user], strict=True):
            if clauses[0].item is None or len(distinct) < 2:
                continue
            cited = clauses[0].item
            other = draw.choice([item for item in distinct if item != cited])
            for item in (cited, str(other)):
                wanted.setdefault((user, item), len(wanted))
            pairs.append((user, result, cited, str(other)))
    shorter, moments = [], []
    for user, item in wanted:
        kept = [at for at, had in enumerate(prompts[user]) if catalogue.canonical([had])[0] != item]
        shorter.append([prompts[user][at] for at in kept])
        own = times[user]
        moments.append(None if own is None else [own[at] for at in kept])
    answers = asked.recommender.recommend(shorter, DEEP, asked.decoding, None, moments)
    places = {key: _places(answers[at], set(rows[key[0]])) for key, at in wanted.items()}
    further = ranks = equal = 0
    for user, result, cited, other in pairs:
        (mine, my_share), (theirs, their_share) = (
            places[user, item].get(result, (DEEP + 1, 0.0)) for item in (cited, other)
        )
        ranks += mine > theirs
        equal += mine == theirs
        further += (mine, -my_share) > (theirs, -their_share)
    return {
        "users_with_deletions": len(prompts),
        "cited": len(pairs),
        "faithful_share": round(further / max(len(pairs), 1), 4),
        "lower_rank_share": round(ranks / max(len(pairs), 1), 4),
        "equal_rank_share": round(equal / max(len(pairs), 1), 4),
    }


def _places(answer: Sequence[Recommendation], history: set[str]) -> dict[str, tuple[int, float]]:
    """Item -> rank and share of probability among what is recommended beside the history."""
    kept = [each for each in answer if each.item_id not in history]
    if not kept:
        return {}
    scores = np.array([each.score for each in kept], np.float64)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return {
        each.item_id: (rank, share) for rank, (each, share) in enumerate(zip(kept, shares.tolist(), strict=True), 1)
    }


if __name__ == "__main__":
    main()
