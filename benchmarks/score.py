"""Users per second of `idiom score` from end to end: reading, starting processes, decoding, publishing.

    python -m benchmarks.score                                  # tiny, 6,144 users, 1 and 2 workers: about a minute
    python -m benchmarks.score --users 22363 --shard-users 2048 # all users of Beauty
    python -m benchmarks.score --size t5-small --users 128 --shard-users 32

Random weights: what a step costs does not depend on what the model knows. Beauty's own IDs and histories where the
real data lies beside the checkout, synthetic words elsewhere. Prints one JSON line. `users_per_s_*`: all users by all
seconds of the call; `users_per_s_*_running`: without the start of the processes (imports and loading the model), which
a night does not notice. Each worker has one thread: workers share the cores, and write the same with any number.
`ratio`: the last number of workers (running) over `users_per_s_one_at_a_time`, a loop that asks the same engine for one
user after the other, on one thread, for the first `--loop-users` of the same users. `ratio_workers`: last over first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.decode import BEAUTY, SIZES, TOKENIZER_SIZE, beauty, synthetic
from benchmarks.machine import facts
from components.networks.backbone import build
from components.progress import reporting
from components.recommender.engine import Engine
from components.recommender.pair import Pair
from components.recommender.prompts.phrasings import Prompts
from components.scoring.run import score_all
from components.scoring.settings import Scoring
from components.storage.artifacts import publishing, read_json
from components.storage.manifest import write_manifest
from components.textid.table.id_table import IdTable
from components.textid.words.tokenizer import train_tokenizer


def write_inputs(folder: Path, size: str, users: int) -> int:
    """A pair of random weights in `folder`/pair and `users` histories; returns the number of items."""
    words, histories = beauty() if BEAUTY.is_dir() else synthetic(users=users)
    tokenizer = train_tokenizer(words, vocabulary_size=TOKENIZER_SIZE)
    shape, vocabulary, *_ = SIZES[size]
    model = build("scratch", size=shape, vocabulary_size=vocabulary, dropout=0.0, seed=17)
    table = IdTable.from_words(tokenizer, {f"i{number:07d}": said for number, said in enumerate(words)})
    with publishing(folder / "pair") as directory:
        Pair(model, model, tokenizer, Prompts(), table, {"max_history": 20}).write(directory)
        write_manifest(directory)
    rows = [histories[user % len(histories)] for user in range(users)]
    columns = {
        "user_id": [f"u{user:08d}" for user in range(users)],
        "history": [[f"i{item:07d}" for item in row] for row in rows],
    }
    pq.write_table(pa.table(columns), folder / "histories.parquet")
    return len(words)


class LastRate:
    """A progress sink that remembers the last rate it was told."""

    rate = 0.0

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "metrics":
            self.rate = fields["values"]["users_per_s"]

    def close(self) -> None:
        pass


def one_at_a_time(scoring: Scoring, users: int) -> float:
    """Users/s of the loop that anyone would write first, the first `users` of the histories; one thread."""
    histories = pq.read_table(scoring.histories)["history"].slice(0, users).to_pylist()
    threads = torch.get_num_threads()
    torch.set_num_threads(scoring.threads)
    engine = Engine.load(scoring.model, device="cpu")
    engine.recommend(histories[:1], scoring.k, scoring)  # the first call pays for what is made once
    started = time.perf_counter()
    for history in histories:
        engine.recommend([history], scoring.k, scoring)
    seconds = time.perf_counter() - started
    torch.set_num_threads(threads)
    return len(histories) / seconds


def run(
    size: str, users: int, shard_users: int, workers: list[int], beams: int, loop_users: int = 64
) -> dict[str, Any]:
    """Score the same users with each number of workers, and some of them in a loop. Returns the figures."""
    figures: dict[str, float] = {}
    digests = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        items = write_inputs(root, size, users)
        for number in workers:
            scoring = Scoring(
                root / "pair",
                root / "histories.parquet",
                root / f"scores{number}",
                beams=beams,
                shard_users=shard_users,
            )
            rate = LastRate()
            with reporting(rate) as progress:
                done = score_all(scoring, workers=number, progress=progress)
            figures[f"users_per_s_{number}"] = done.users / done.seconds
            figures[f"users_per_s_{number}_running"] = rate.rate
            digests.append(read_json(scoring.out / "manifest.json")["files"])
        figures["users_per_s_one_at_a_time"] = one_at_a_time(scoring, min(users, loop_users))
    first, last = (figures[f"users_per_s_{number}_running"] for number in (workers[0], workers[-1]))
    return {
        "benchmark": "score",
        **{name: round(value, 2) for name, value in figures.items()},
        "ratio": round(last / figures["users_per_s_one_at_a_time"], 2),
        "ratio_workers": round(last / first, 2),
        "identical": all(each == digests[0] for each in digests),
        "users": users,
        "shard_users": shard_users,
        "beams": beams,
        "k": 10,
        "scores": "trie",
        "items": items,
        "size": size,
        "data": "amazon-beauty" if BEAUTY.is_dir() else "synthetic",
        **facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--users", type=int, default=6144)
    parser.add_argument("--shard-users", type=int, default=128)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="`ratio` is of the last of them")
    parser.add_argument("--beams", type=int, default=20)
    parser.add_argument("--loop-users", type=int, default=64)
    given = parser.parse_args()
    figures = run(given.size, given.users, given.shard_users, given.workers, given.beams, given.loop_users)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
