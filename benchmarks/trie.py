"""Seconds and memory of the trie by catalogue size: building, appending, loading. Prints one JSON line.

    python -m benchmarks.trie                        # 1e4, 1e5 and 1e6 IDs
    python -m benchmarks.trie --items 10000 100000 1000000 10000000    # 1e7 takes 2.6 GB, for some 20 s

Each size in a process of its own, so that `peak_*` is that size's. `ratio_seconds_dict` and `ratio_bytes_dict`: the
nested Python dictionaries that the released IDGenRec decodes with (up to 1e5 IDs), over ours; the same IDs, one run,
CPU seconds (both take one thread).
`growth_*`: exponent of size against items from the smallest to the largest, so 1 is linear.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import facts
from components.recommender.trie.append import append
from components.recommender.trie.trie import Trie

VOCABULARY = 8192
END = 1
DICT_ITEMS = 100_000
"""Up to so many IDs the dictionaries are built too; a million would take minutes and gigabytes."""


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
    """One row of the result, for `items` IDs; to be called in a process of its own."""
    offsets, values = synthetic_ids(items)
    before = _memory("VmRSS")
    _forget_peak()
    start, computing = time.perf_counter(), time.process_time()
    trie = Trie.of(offsets, values, end_token=END)
    seconds, computing = time.perf_counter() - start, time.process_time() - computing
    peak = _memory("VmHWM")
    row = {
        "items": items,
        "nodes": trie.nodes,
        "build_seconds": round(seconds, 4),
        "build_cpu_seconds": round(computing, 4),
        "bytes": trie.bytes,
        "bytes_per_item": round(trie.bytes / items, 1),
        "peak_rss_bytes": peak,
        "peak_over_input_bytes_per_item": round((peak - before) / items, 1),
        **_append(offsets, values, trie),
        **_load(trie),
    }
    if items <= DICT_ITEMS:
        row |= _dictionaries(offsets, values, computing, trie.bytes)
    return row


def _append(offsets: np.ndarray, values: np.ndarray, whole: Trie) -> dict[str, Any]:
    """The last hundredth of the IDs into a trie of the others."""
    cut = whole.items - max(1, whole.items // 100)
    known = Trie.of(offsets[: cut + 1], values[: offsets[cut]], end_token=END)
    new = [part.tolist() for part in np.split(values[offsets[cut] :], offsets[cut + 1 : -1] - offsets[cut])]
    start = time.perf_counter()
    longer = append(known, new)
    seconds = time.perf_counter() - start
    same = longer.levels == whole.levels and longer.lowest.equal(whole.lowest)
    return {"append_1_percent_seconds": round(seconds, 4), "append_equals_build": same}


def _load(trie: Trie) -> dict[str, Any]:
    """Every array from a file that was just written, read to the last byte."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trie.safetensors"
        trie.save(path)
        start = time.perf_counter()
        again = Trie.load(path)
        for array in (again.columns, again.children, again.parents, again.lowest, again.below, again.ids):
            array.sum()
        return {"load_seconds": round(time.perf_counter() - start, 4)}


def _dictionaries(offsets: np.ndarray, values: np.ndarray, seconds: float, size: int) -> dict[str, Any]:
    """A dictionary for every node, from token to dictionary; bytes are those of the dictionaries alone."""
    ids = [part.tolist() for part in np.split(values, offsets[1:-1])]
    gc.collect()
    start = time.process_time()
    root: dict[int, Any] = {}
    for tokens in ids:
        node = root
        for token in (*tokens, END):
            node = node.setdefault(token, {})
    taken = time.process_time() - start
    bytes_, open_nodes = 0, [root]
    while open_nodes:
        node = open_nodes.pop()
        bytes_ += sys.getsizeof(node)
        open_nodes.extend(node.values())
    return {
        "dict_cpu_seconds": round(taken, 4),
        "dict_bytes": bytes_,
        "ratio_seconds_dict": round(taken / seconds, 2),
        "ratio_bytes_dict": round(bytes_ / size, 2),
    }


def _memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at the most since `_forget_peak`."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def run(sizes: list[int]) -> dict[str, Any]:
    """All rows, and how they grow."""
    rows = []
    for items in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (items,)))
    first, last = rows[0], rows[-1]
    span = math.log(last["items"] / first["items"])
    growth = {
        f"growth_{name}": round(math.log(last[name] / first[name]) / span, 3)
        for name in ("bytes", "build_cpu_seconds")
        if span
    }
    beside = [row["ratio_seconds_dict"] for row in rows if "ratio_seconds_dict" in row]
    ratio = {"ratio": beside[-1]} if beside else {}
    return {"benchmark": "trie", **ratio, **growth, "rows": rows, **facts()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    print(json.dumps(run(sorted(parser.parse_args().items))))


if __name__ == "__main__":
    main()
