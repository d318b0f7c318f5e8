"""Exact search of a dense voice (`view:NAME`: pictures, texts by an encoder) against an index of the library faiss.

    python -m benchmarks.dense_search --items 1000000
    python -m benchmarks.dense_search --items 20000 --queries 64        # seconds

Vectors of length 1 in `--dims` numbers, in clusters of some fifty items; a query is a history of three items of one
cluster. `users_per_s_exact`: scores of all items and the ten best. Where faiss is installed, for an inverted file of
sqrt(items) lists by how many of them are read (`probes`): `recall_at_10` of the exact ten, `users_per_s`, and
`build_seconds`. Seconds of CPU time, one thread. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from components.recommender.catalogue import Catalogue
from components.settings.voices import View as Settings
from components.storage.ragged import Ragged
from components.textid.table.id_table import IdTable
from components.voices.lists import best
from components.voices.view import View

K = 10
PROBES = (1, 4, 16, 64)
_CLUSTER = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--queries", type=int, default=256, help="users who ask")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"benchmark": "dense_search", **vars(chosen), **measure(chosen), **machine.facts()}))


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    draw = np.random.default_rng(17)
    clusters = max(chosen.items // _CLUSTER, 1)
    centres = draw.normal(size=(clusters, chosen.dims)).astype(np.float32)
    of = draw.integers(clusters, size=chosen.items)
    vectors = centres[of] + draw.normal(size=(chosen.items, chosen.dims), scale=0.7).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(of, kind="stable")
    starts = draw.integers(chosen.items - 3, size=chosen.queries)
    histories = Ragged.of([order[start : start + 3].tolist() for start in starts])
    ids = tuple(f"i{number:07d}" for number in range(chosen.items))
    catalogue = Catalogue(IdTable(ids, ids, tuple((number,) for number in range(chosen.items))))
    voice = View(catalogue, {"dense": vectors}, Settings(of="made_up"))
    days = np.full(len(histories.values), np.nan)
    exact = []
    started = time.process_time()
    for block, scores in voice.blocks(histories, days):
        exact.append(best(scores, K, least=0.0, excluded=block)[0])
    found: dict[str, Any] = {"users_per_s_exact": rate(chosen.queries, started)}
    if find_spec("faiss") is None:
        return found | {"left_out": ["faiss"]}
    weights = Settings().age_decay ** np.arange(2, -1, -1, dtype=np.float32)
    queries = np.stack([weights @ vectors[row] for row in histories]).astype(np.float32)
    return found | {"inverted_file": inverted_file(vectors, queries, histories, np.concatenate(exact))}


def inverted_file(vectors: np.ndarray, queries: np.ndarray, histories: Ragged, exact: np.ndarray) -> dict[str, Any]:
    import faiss

    faiss.omp_set_num_threads(1)
    lists = int(len(vectors) ** 0.5)
    started = time.process_time()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // (lists * 40))])
    index.add(vectors)
    built = round(time.process_time() - started, 1)
    probes = {}
    for wanted in PROBES:
        index.nprobe = wanted
        started = time.process_time()
        _, near = index.search(queries, K + 3)
        users_per_s = rate(len(queries), started)
        hits = [
            len(set(exact[user]) & set([item for item in near[user] if item not in own][:K]))
            for user, own in enumerate(histories)
        ]
        probes[str(wanted)] = {"recall_at_10": round(float(np.mean(hits)) / K, 4), "users_per_s": users_per_s}
    return {"lists": lists, "build_seconds": built, "probes": probes, "version": faiss.__version__}


def rate(users: int, started: float) -> float:
    return round(users / (time.process_time() - started), 1)


if __name__ == "__main__":
    main()
