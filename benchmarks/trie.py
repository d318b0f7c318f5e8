"""Seconds to build the trie, to append to it and to load it, and its memory, by catalogue size. Prints one JSON line.

python -m benchmarks.trie                        # 1e4, 1e5 and 1e6 IDs
python -m benchmarks.trie --items 10000000       # 1e7: 9 GB while building, 1.9 GB after
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import facts
from components.recommender.append import append
from components.recommender.trie import Trie

VOCABULARY = 8192
END = 1


def synthetic_ids(items: int, *, seed: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Packed IDs (offsets, values) of 3 to 10 tokens, whose words are as uneven as real ones, each ID unique."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 10, size=items)
    # Zipf-like tokens share prefixes as brands do; the number at the end, in base 4096, keeps IDs apart.
    shared = (VOCABULARY // 2 * random.random(int(lengths.sum())) ** 4).astype(np.int32) + 2
    digits = 1 if items <= 4096 else 2
    offsets = np.concatenate([[0], np.cumsum(lengths + digits)])
    values = np.empty(int(offsets[-1]), dtype=np.int32)
    own = np.zeros(len(values), dtype=bool)
    for digit in range(digits):
        own[offsets[1:] - 1 - digit] = True
        values[offsets[1:] - 1 - digit] = 4096 + (np.arange(items) // 4096**digit) % 4096
    values[~own] = shared
    return offsets, values


def measure(items: int) -> dict[str, Any]:
    """One row: seconds to build from packed IDs, to append the last hundredth and to load; the arrays' bytes."""
    offsets, values = synthetic_ids(items)
    start = time.perf_counter()
    trie = Trie.of(offsets, values, end_token=END)
    seconds = time.perf_counter() - start
    cut = items - max(1, items // 100)
    known = Trie.of(offsets[: cut + 1], values[: offsets[cut]], end_token=END)
    new = [part.tolist() for part in np.split(values[offsets[cut] :], offsets[cut + 1 : -1] - offsets[cut])]
    start = time.perf_counter()
    longer = append(known, new)
    append_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        trie.save(Path(folder) / "trie.safetensors")
        start = time.perf_counter()
        Trie.load(Path(folder) / "trie.safetensors").to("cpu").ids.sum()
        load_seconds = time.perf_counter() - start
    return {
        "items": items,
        "nodes": trie.nodes,
        "seconds": round(seconds, 3),
        "append_1_percent_seconds": round(append_seconds, 3),
        "append_equals_build": longer.levels == trie.levels and longer.lowest.equal(trie.lowest),
        "load_seconds": round(load_seconds, 3),
        "bytes": trie.bytes,
        "bytes_per_item": round(trie.bytes / items, 1),
        "peak_process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    rows = [measure(items) for items in parser.parse_args().items]
    first, last = rows[0], rows[-1]
    growth = (last["bytes"] / first["bytes"]) / (last["items"] / first["items"])
    # Bytes per item at the largest size over those at the smallest: 1 is linear.
    print(json.dumps({"benchmark": "trie", "rows": rows, "growth": round(growth, 3), **facts()}))


if __name__ == "__main__":
    main()
