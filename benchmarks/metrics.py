"""What the figures of an evaluation cost for a million users, beside the library that people use. Prints one JSON line.

    python -m benchmarks.metrics                             # 1,000,000 users, lists of 50; a minute
    python -m benchmarks.metrics --users 20000 --theirs 500  # seconds

`seconds`: from the lists to recall, NDCG and MRR at 5, 10, 20 and 50 with bootstrapped intervals, coverage, novelty,
exposure Gini and share of new items, repeat and explore with theirs; on one thread. `parts` says which takes what.
`ratio_users_per_s`: our ranking metrics beside those of ir-measures over trec_eval (`--theirs` users, as it takes
long); that both find the same to 1e-9 is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from benchmarks.machine import facts
from components.evaluation import metrics
from components.evaluation.arrays import Cases
from components.evaluation.exposure import exposure
from components.evaluation.repeats import repeats
from components.storage.ragged import Ragged

DEPTH, ITEMS, PROMPT = 50, 20_000, 8
KS = (5, 10, 20, 50)


def made(users: int, seed: int) -> tuple[Cases, np.ndarray]:
    """Cases with prompts of eight items, and lists that hold a tenth of the targets; popular items are shown more."""
    random = np.random.default_rng(seed)
    starts = (ITEMS * random.random((users, 1)) ** 3).astype(np.int64)
    lists = (starts + np.arange(DEPTH) * (1 + random.integers(0, 300, (users, 1)))) % ITEMS
    targets = random.integers(0, ITEMS, users)
    hit = random.random(users) < 0.1
    lists[hit, random.integers(0, DEPTH, users)[hit]] = targets[hit]
    prompts = random.integers(0, ITEMS, users * PROMPT)
    again = random.random(users) < 0.2
    prompts[::PROMPT][again] = targets[again]
    rows = Ragged(np.arange(0, users * PROMPT + 1, PROMPT), prompts)
    asked = Cases(tuple(map(str, range(ITEMS))), tuple(map(str, range(users))), rows, rows, targets)
    return asked, lists


def timed(parts: dict[str, float], name: str, call: Callable[[], Any]) -> Any:
    """What `call` returns; its seconds go into `parts`."""
    start = time.perf_counter()
    value = call()
    parts[name] = time.perf_counter() - start
    return value


def theirs(lists: np.ndarray, targets: np.ndarray) -> tuple[dict[str, float], float]:
    """(metric -> mean, seconds) of ir-measures; making its dictionaries is not counted."""
    import ir_measures
    from ir_measures import RR, R, nDCG

    right = {str(user): {str(target): 1} for user, target in enumerate(targets)}
    asked = {
        str(user): {str(item): float(DEPTH - place) for place, item in enumerate(dict.fromkeys(row.tolist()))}
        for user, row in enumerate(lists)
    }
    wanted = [*(R @ k for k in KS), *(nDCG @ k for k in KS), RR @ max(KS)]
    start = time.perf_counter()
    found = ir_measures.calc_aggregate(wanted, right, asked)
    seconds = time.perf_counter() - start
    names = {"R": "recall", "nDCG": "ndcg", "RR": "mrr"}
    return {f"{names[str(each.NAME)]}_at_{each['cutoff']}": value for each, value in found.items()}, seconds


def run(users: int, beside: int, seed: int = 17) -> dict[str, Any]:
    """The result line."""
    asked, lists = made(users, seed)
    counts = asked.counts
    parts: dict[str, float] = {}
    rank = timed(parts, "ranks", lambda: metrics.ranks(lists, asked.targets))
    values = timed(parts, "per_user", lambda: metrics.per_user(rank, KS))
    timed(parts, "intervals", lambda: metrics.bootstrap(values, seed=seed))
    timed(parts, "breadth", lambda: metrics.breadth(lists, counts, DEPTH))
    timed(parts, "exposure", lambda: exposure(lists, counts, DEPTH))
    one = {"model": lists}
    timed(parts, "repeats", lambda: repeats(asked, DEPTH, {"masked": one, "unmasked": one},
                                            {"masked": {"model": rank}, "unmasked": {"model": rank}}))  # fmt: skip
    found, seconds = theirs(lists[:beside], asked.targets[:beside])
    own = metrics.per_user(metrics.ranks(lists[:beside], asked.targets[:beside]), KS)
    apart = max(abs(float(own[name].mean()) - value) for name, value in found.items())
    if apart > 1e-9:
        raise SystemExit(f"ir-measures finds other figures, up to {apart}")
    ours = users / (parts["ranks"] + parts["per_user"])
    return {
        "benchmark": "metrics",
        "ratio_users_per_s": round(ours / (beside / seconds), 1),
        "seconds": round(sum(parts.values()), 2),
        "parts_s": {name: round(each, 3) for name, each in parts.items()},
        "users": users,
        "depth": DEPTH,
        "items": ITEMS,
        "ir_measures_users_per_s": round(beside / seconds),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--theirs", type=int, default=20_000, help="users that ir-measures is asked about")
    given = parser.parse_args()
    print(json.dumps(run(given.users, min(given.theirs, given.users))))


if __name__ == "__main__":
    main()
