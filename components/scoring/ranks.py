"""Score by ranks of torchrun: rank r of n takes the shards r, r + n, ... of a folder that all of them see.

    idiom score --on torchrun --workers 2          # ranks of this machine, looked after by the command

On several nodes, over storage that they share: begin the scoring anywhere and end it (finished shards stay), then

    torchrun --nnodes 2 ... -m components.scoring.ranks FOLDER       # .OUT.work/KEY, beside the output

and the first command again: it finds every shard, and publishes. Ranks never talk to each other: a rank needs the
folder, its number and their count, so a node that is lost costs its own shards alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from components.processes.environment import prepare
from components.processes.torchrun import run_job, torchrun
from components.scoring.shards import shard, shards
from components.scoring.workers import ShardProgress, interrupted


def on_ranks(
    folder: Path, numbers: Sequence[int], *, workers: int, device: str, stopped: Callable[[], Any]
) -> Iterator[ShardProgress]:
    """The `Team` (workers.py) of `workers` ranks of this machine, under torchrun.

    A shard is done when it is in the folder, so those of other nodes' ranks count as well.
    """
    left = list(numbers)
    if not left:
        return
    yield ShardProgress(left[0], 0.0, False)
    # One thread: the scoring says how many torch takes in each.
    ranks = torchrun(__spec__.name, [str(folder), "--device", device], folder=folder, ranks=workers, threads=1)
    with closing(ranks):  # leaving the loop kills them: a shard is published whole or not at all
        for _ in ranks:
            for number in [number for number in left if shard(folder, number).exists()]:
                left.remove(number)
                yield ShardProgress(number, 1.0, True)
            if not left:
                return
            if stopped():
                raise interrupted(folder)


def score_rank(folder: Path, *, rank: int, size: int, device: str | None = None) -> int:
    """Score every shard rank, rank + size, ... of a prepared folder that is not there; returns how many that were."""
    from components.scoring.score import score_shard

    mine = [number for number in range(rank, shards(folder), size) if not shard(folder, number).exists()]
    for number in mine:
        score_shard(folder, number, device=device)
    return len(mine)


def main(arguments: list[str]) -> int:
    """A rank's side: FOLDER [--device DEVICE]; without a device, that of the scoring."""
    folder = Path(arguments[0])
    device = arguments[arguments.index("--device") + 1] if "--device" in arguments else None
    prepare()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return run_job(folder, lambda _: score_rank(folder, rank=rank, size=size, device=device))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
