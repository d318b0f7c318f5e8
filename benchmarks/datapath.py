"""From Parquet to batches: packed, mapped tables against lists in memory and a DataLoader with dynamic padding.

    python -m benchmarks.datapath                                # 1e6 and 1e7 interactions, under a minute on two cores
    python -m benchmarks.datapath --sizes 100000000 --obvious 0  # 1e8: a gigabyte below --folder, some minutes

Prints one JSON line. `ratio` is samples/s of making batches, ours / the obvious way, at the largest size that both did;
`padding_share` counts prompt tokens, and both ways pad the same samples. `anonymous_mib` is what a process needs
beyond its imports; pages of the mapped files stand beside it in `mapped_mib`, as the system may drop them at any time.
Every step is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.machine import facts

ITEMS = 50_000
USERS_AT_A_TIME = 65_536
TAUGHT_EACH = 10
"""Mean length of a training history."""


def main() -> None:
    """Every size both ways, each step in a fresh process; print one JSON line."""
    arguments = _arguments()
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](arguments.folder, arguments)))
        return
    measured: dict[str, Any] = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            steps = [*("make", "pack", "epoch"), *(["obvious"] if size <= arguments.obvious else [])]
            measured[f"{size:.0e}".replace("+0", "")] = {
                step: _in_a_process(step, Path(folder), size, arguments) for step in steps
            }
    both = [sizes for sizes in measured.values() if "obvious" in sizes]
    ratio = both[-1]["epoch"]["samples_per_s"] / both[-1]["obvious"]["samples_per_s"] if both else None
    settings = {name: str(value) for name, value in vars(arguments).items()}
    print(
        json.dumps(
            {
                "benchmark": "datapath",
                "ratio": ratio and round(ratio, 2),
                "sizes": measured,
                "settings": settings,
                **facts(),
            }
        )
    )


def _in_a_process(step: str, folder: Path, size: int, arguments: argparse.Namespace) -> Any:
    command = [sys.executable, "-m", "benchmarks.datapath", "--step", step, "--folder", str(folder)]
    command += ["--sizes", str(size), "--batches", str(arguments.batches), "--batch-size", str(arguments.batch_size)]
    command += ["--batch-tokens", str(arguments.batch_tokens)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def make(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Tables as `clean` writes them: histories of 1 to some 60 items, one validation target a user."""
    random, started = np.random.default_rng(17), time.perf_counter()
    names = _numbered("B", np.arange(ITEMS))
    pq.write_table(pa.table({"item_id": names, "text": names}), folder / "items.parquet")
    users = arguments.sizes[0] // TAUGHT_EACH
    histories = pa.schema([("user_id", pa.string()), ("history", pa.list_(pa.string()))])
    targets = pa.schema([("user_id", pa.string()), ("context", pa.list_(pa.string())), ("target", pa.string())])
    with (
        pq.ParquetWriter(folder / "histories.parquet", histories) as histories_to,
        pq.ParquetWriter(folder / "targets.parquet", targets) as targets_to,
    ):
        for start in range(0, users, USERS_AT_A_TIME):
            count = min(USERS_AT_A_TIME, users - start)
            ids = _numbered("U", np.arange(start, start + count))
            offsets = np.concatenate([[0], np.cumsum(random.geometric(1 / TAUGHT_EACH, size=count))])
            items = names.take(_popular(random, int(offsets[-1])))
            rows = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
            histories_to.write_table(pa.table({"user_id": ids, "history": rows}, histories))
            nothing = pa.ListArray.from_arrays(pa.array(np.zeros(count + 1), pa.int32()), names[:0])
            wanted = names.take(_popular(random, count))
            targets_to.write_table(pa.table({"user_id": ids, "context": nothing, "target": wanted}, targets))
    return {"users": users, "seconds": round(time.perf_counter() - started, 2)}


def pack(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Parquet -> mapped arrays, as the first rank does it."""
    from components.training.packed import dataset as data

    with _measured() as figures:
        dataset = data.load(_job(folder))
    return figures | {"interactions": len(dataset.histories.values), "packed_mib": _mib(_size(folder / "work"))}


def epoch(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The first batches of an epoch from the mapped arrays; they lie all over the histories."""
    from components.recommender.batches.samples import Samples
    from components.training.packed import dataset as data

    sizes = {"batch_size": arguments.batch_size, "batch_tokens": arguments.batch_tokens}
    with _measured() as figures:
        histories = data.load(_job(folder)).histories
        samples = Samples(histories, _token_ids(), _pieces(), end_token=1, max_history=20)
        batches = samples.epoch(seed=17, number=0, **sizes)
        count, prepared = len(batches), time.perf_counter()
        rows, tokens, room = 0, 0, 0
        for at in range(min(arguments.batches, count)):
            batch = samples.collate(batches[at])
            rows, room = rows + len(batch.input_ids), room + batch.input_ids.numel()
            tokens += int(batch.attention_mask.sum())
        seconds = time.perf_counter() - prepared
    return figures | {
        "batches": count,
        "samples_per_s": round(rows / seconds),
        "padding_share": round(1 - tokens / room, 4),
    }


def obvious(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What anyone would write: lists of lists, a sample per (user, place), padding to the longest of a batch."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    ids, pieces = _token_ids(), _pieces()
    items = {name: number for number, name in enumerate(pq.read_table(folder / "items.parquet")["item_id"].to_pylist())}

    class Prefixes(Dataset[Any]):
        def __init__(self) -> None:
            rows = pq.read_table(folder / "histories.parquet", columns=["history"])["history"].to_pylist()
            self.histories = [[items[item] for item in row] for row in rows]
            self.samples = [(user, at) for user, row in enumerate(self.histories) for at in range(1, len(row))]

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> tuple[tuple[int, ...], list[int]]:
            user, at = self.samples[index]
            template = int(torch.randint(len(pieces), ()))
            prompt = pieces.build(
                template, [ids[item] for item in self.histories[user][:at]], max_tokens=512, max_items=20
            )
            return prompt.token_ids, [*ids[self.histories[user][at]], 1]

    def collate(samples: list[Any]) -> dict[str, torch.Tensor]:
        width, written = (max(len(sample[part]) for sample in samples) for part in (0, 1))
        return {
            "input_ids": torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt, _ in samples]),
            "mask": torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt, _ in samples]),
            "labels": torch.tensor([[*label, *[-100] * (written - len(label))] for _, label in samples]),
        }

    with _measured() as figures:
        loader = DataLoader(Prefixes(), batch_size=arguments.batch_size, shuffle=True, collate_fn=collate)
        iterator = iter(loader)
        first, started = next(iterator), time.perf_counter()  # the permutation is drawn with the first one
        rows, tokens, room = 0, int(first["mask"].sum()), first["mask"].numel()
        for _ in range(min(arguments.batches // 8, len(loader) - 1)):
            batch = next(iterator)
            rows, room = rows + len(batch["mask"]), room + batch["mask"].numel()
            tokens += int(batch["mask"].sum())
        seconds = time.perf_counter() - started
    return figures | {"samples_per_s": round(rows / seconds), "padding_share": round(1 - tokens / room, 4)}


@contextmanager
def _measured() -> Iterator[dict[str, Any]]:
    """Seconds of a block, and the most memory it needed beyond what was there before, looked at every 10 ms."""
    figures: dict[str, Any] = {}
    before, peak, done = _memory(), [0.0, 0.0], threading.Event()

    def look() -> None:
        peak[:] = [max(*pair) for pair in zip(peak, _memory(), strict=True)]

    def watch() -> None:
        while not done.wait(0.01):
            look()

    watcher, started = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    try:
        yield figures
    finally:
        figures["seconds"] = round(time.perf_counter() - started, 2)
        look()
        done.set()
        watcher.join()
        figures["anonymous_mib"], figures["mapped_mib"] = (
            round(most - was, 1) for most, was in zip(peak, before, strict=True)
        )


def _memory() -> list[float]:
    """MiB of this process: memory of its own, and pages of files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return [int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("RssAnon", "RssFile")]


def _job(folder: Path) -> Any:
    from components.settings.params import Index
    from components.settings.train import Train
    from components.training.job import Job

    items, histories, targets = (folder / f"{name}.parquet" for name in ("items", "histories", "targets"))
    return Job(
        items,
        histories,
        targets,
        out=folder / "out",
        work=folder / "work",
        train=Train(),
        index=Index(),
        seed=17,
        train_key="k",
    )


def _token_ids() -> list[tuple[int, ...]]:
    """IDs of 3 to 10 tokens."""
    random = np.random.default_rng(5)
    return [tuple(random.integers(3, 4000, size=length).tolist()) for length in random.integers(3, 11, size=ITEMS)]


def _pieces() -> Any:
    from components.recommender.prompts.phrasings import Pieces

    heads = ((4, 5, 6), (7,), (4, 8, 9, 10), (11, 12), (5,), ())
    return Pieces(heads, tails=tuple((*range(20, 24 + len(head)), 1) for head in heads), separator=(3,))


def _numbered(letter: str, numbers: Any) -> pa.Array:
    return pc.binary_join_element_wise(letter, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0"), "")


def _popular(random: np.random.Generator, count: int) -> Any:
    """Item numbers with a long tail."""
    return np.minimum((ITEMS * random.random(count) ** 1.5).astype(np.int64), ITEMS - 1)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mib(size: int) -> float:
    return round(size / 2**20, 1)


STEPS = {"make": make, "pack": pack, "epoch": epoch, "obvious": obvious}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: int(float(text)), nargs="+", default=[10**6, 10**7])
    parser.add_argument("--obvious", type=lambda text: int(float(text)), default=10**6, help="largest size of that way")
    parser.add_argument("--batches", type=int, default=2048, help="batches made; the obvious way makes an eighth")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
