"""How long does it take from a folder of an unknown shop to first recommendations, and how many users a second after?

    python -m benchmarks.zero_shot                                             # 10,000 items
    python -m benchmarks.zero_shot --items 10000 100000 --foundation work/foundation

Prints one JSON line: `shops.ITEMS.seconds_to_first` from the start of the process `idiom zero-shot` to its end (files
read, IDs written and made unique, trie and recommender built and saved, first recommendations shown), `goal_seconds`,
`peak_mb`, and `users_per_second` of the recommender it saved, loaded anew. The shop is drawn: titles of six words of a
Zipf distribution, brands, categories, and half as many users as items with six interactions each. The goals are
seconds of two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from components.ranking.load import load
from components.settings.decoding import Decoding

ROOT = Path(__file__).resolve().parents[1]
GOALS = {10_000: 120, 100_000: 600}
"""Items -> seconds."""
_WORDS = 20_000
_ASKED = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000])
    parser.add_argument("--foundation", type=Path, help="as `idiom zero-shot` takes it")
    chosen = parser.parse_args()
    shops: dict[str, Any] = {}
    for items in chosen.items:
        with tempfile.TemporaryDirectory() as folder:
            shops[str(items)] = measure(Path(folder), items, chosen.foundation)
        print(f"{items}: {shops[str(items)]}", file=sys.stderr)
    who = "foundation" if chosen.foundation else "fixed_weights"
    print(json.dumps({"benchmark": "zero_shot", "answers": who, "shops": shops, **machine.facts()}))


def measure(folder: Path, items: int, foundation: Path | None) -> dict[str, Any]:
    """One shop."""
    histories = write(folder / "shop", items)
    command = [sys.executable, "-m", "flows.cli", "zero-shot", str(folder / "shop"), "--judge-users", "0"]
    command += ["--out", str(folder / "out"), *(["--foundation", str(foundation.resolve())] if foundation else [])]
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    recommender = load(folder / "out" / "recommender")
    asked = histories[:_ASKED]
    recommender.recommend(asked[:1], 10, Decoding())  # what is made once
    started = time.perf_counter()
    found = recommender.recommend(asked, 10, Decoding())
    return {
        "users": items // 2,
        "seconds_to_first": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "goal_seconds": GOALS.get(items),
        "peak_mb": round(used.ru_maxrss / 1024),
        "users_per_second": round(len(asked) / (time.perf_counter() - started), 1),
        "items_a_list": round(float(np.mean([len(row) for row in found])), 2),
    }


def write(folder: Path, items: int) -> list[list[str]]:
    """`items.csv` and `interactions.csv`; returns the histories."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(items)
    words = [f"{''.join(draw.choice(list('bdfgklmnprst'), 3))}{'aeiou'[at % 5]}{at}" for at in range(_WORDS)]
    share = 1.0 / np.arange(5, _WORDS + 5)
    titles = draw.choice(_WORDS, (items, 6), p=share / share.sum())
    kinds = draw.integers(max(items // 100, 2), size=items)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title", "brand", "categories"])
        for at in range(items):
            title = " ".join(words[word] for word in titles[at])
            rows.writerow([f"i{at}", title, f"maker {kinds[at] % 97}", f"all, kind {kinds[at]}"])
    order = np.argsort(kinds, kind="stable")
    histories = []
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(items // 2):
            # Of one kind, as they lie beside each other.
            taken = order[(draw.integers(items) + np.cumsum(draw.integers(1, 20, 6))) % items]
            histories.append([f"i{item}" for item in taken])
            start = int(draw.integers(15_000, 15_300))
            rows.writerows([f"u{user}", f"i{item}", 86_400 * (start + 9 * step)] for step, item in enumerate(taken))
    return histories


if __name__ == "__main__":
    main()
