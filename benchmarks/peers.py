"""Other libraries' recommenders on given histories, run by an interpreter that has them (benchmarks/hybrid.py asks).

    /elsewhere/bin/python benchmarks/peers.py histories.npz FOLDER --epochs 20

`histories.npz`: `offsets`, `values` (item numbers, oldest first) and `items`. Writes FOLDER/NAME.npy, [users, 10] the
best items that a user does not have, and prints one JSON line: NAME -> `train_seconds`, `users_per_s` (of CPU time, one
thread) and what it was made with; a library that is not there is named in `left_out`. Imports nothing of this project:
it stands elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("histories", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    chosen = parser.parse_args()
    given = np.load(chosen.histories)
    offsets, values, items = given["offsets"], given["values"], int(given["items"])
    found: dict[str, Any] = {"left_out": []}
    for library, asked in (("implicit", by_implicit), ("rectools", by_rectools)):
        if find_spec(library) is None:
            found["left_out"].append(library)
            continue
        found |= asked(offsets, values, items, chosen.folder, chosen.epochs)
    if not found["left_out"]:
        del found["left_out"]
    print(json.dumps(found))


def by_implicit(offsets: Any, values: Any, items: int, folder: Path, epochs: int) -> dict[str, Any]:
    """Alternating least squares, BPR and neighbours by BM25, as the library sets them, one thread."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender
    from scipy import sparse

    users = len(offsets) - 1
    cells = (np.ones(len(values), np.float32), (np.repeat(np.arange(users), np.diff(offsets)), values))
    taken = sparse.csr_matrix(cells, shape=(users, items))
    taken.data[:] = 1.0
    models = {
        "implicit_als": AlternatingLeastSquares(num_threads=1, random_state=17),
        "implicit_bpr": BayesianPersonalizedRanking(num_threads=1, random_state=17),
        "implicit_bm25": BM25Recommender(num_threads=1),
    }
    found = {}
    for name, model in models.items():
        started = time.process_time()
        model.fit(taken, show_progress=False)
        trained = time.process_time()
        lists, _ = model.recommend(np.arange(users), taken, N=K, filter_already_liked_items=True)
        np.save(folder / f"{name}.npy", lists)
        found[name] = _figures(started, trained, users)
    return found


def by_rectools(offsets: Any, values: Any, items: int, folder: Path, epochs: int) -> dict[str, Any]:
    """SASRec with the softmax over the catalogue; width, blocks and dropout as our sequence voice has them."""
    import pandas as pd
    import torch
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    torch.set_num_threads(1)
    users = len(offsets) - 1
    lengths = np.diff(offsets)
    table = pd.DataFrame({Columns.User: np.repeat(np.arange(users), lengths), Columns.Item: values})
    table[Columns.Weight] = 1.0
    place = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    table[Columns.Datetime] = pd.Timestamp("2020-01-01") + pd.to_timedelta(place, unit="D")
    started = time.process_time()
    dataset = Dataset.construct(table)
    model = SASRecModel(
        n_factors=64,
        n_blocks=1,
        n_heads=1,
        dropout_rate=0.5,
        session_max_len=50,
        loss="softmax",
        lr=0.001,
        batch_size=128,
        epochs=epochs,
        train_min_user_interactions=2,
        deterministic=True,
        verbose=0,
    )
    model.fit(dataset)
    trained = time.process_time()
    answers = model.recommend(np.arange(users), dataset, k=K, filter_viewed=True)
    lists = np.full((users, K), -1, np.int64)
    lists[answers[Columns.User].to_numpy(), answers[Columns.Rank].to_numpy() - 1] = answers[Columns.Item].to_numpy()
    np.save(folder / "rectools_sasrec.npy", lists)
    return {"rectools_sasrec": {**_figures(started, trained, users), "epochs": epochs}}


def _figures(started: float, trained: float, users: int) -> dict[str, float]:
    asked = time.process_time() - trained
    return {"train_seconds": round(trained - started, 1), "users_per_s": round(users / asked, 1)}


if __name__ == "__main__":
    main()
