"""The team of torchrun ranks: each scores every so-many-th shard of a folder that all of them see.

    idiom score --on torchrun --workers 2          # ranks of this machine, looked after by the command

On several nodes, over storage that they share: begin the scoring anywhere and end it (finished shards stay), then

    torchrun --nnodes 2 ... -m components.scoring.ranks FOLDER       # .OUT.work/KEY, beside the output

and the first command again: it finds every shard, and publishes. Ranks never talk to each other: a rank needs the
folder, its number and their count, so a node that is lost costs its own shards alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components.errors import StageError
from components.processes.environment import prepare, python_path, when_the_parent_ends
from components.scoring.shards import shard, shards
from components.scoring.workers import Step, interrupted
from components.storage.artifacts import publish_json, read_json

_TICK_SECONDS = 0.25
_FAILURE = "failure.json"
_GUARDED = "--guarded"


def on_ranks(
    folder: Path, numbers: Sequence[int], *, workers: int, device: str, stopped: Callable[[], Any]
) -> Iterator[Step]:
    """The `Team` (workers.py) of `workers` ranks of this machine, under torchrun.

    Says when a shard is there: the folder tells, so ranks of other nodes count as well.
    """
    if not numbers:
        return
    (folder / _FAILURE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}", "-m"]
    command += [__spec__.name, str(folder), "--device", device, _GUARDED]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": python_path()}
    left = list(numbers)
    # A process group of its own: Ctrl-C reaches this process alone. The open pipe ends with it, and so do the ranks.
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield Step(left[0], 0.0, False)
        while left:
            ended = process.poll() is not None  # asked first, so that what was published before is seen
            for number in [number for number in left if shard(folder, number).exists()]:
                left.remove(number)
                yield Step(number, 1.0, True)
            if left and ended:
                raise _failure(folder, process.returncode)
            if stopped():
                raise interrupted(folder)
            time.sleep(_TICK_SECONDS)
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a shard is published whole or not at all
            process.wait()
        if process.stdin:
            process.stdin.close()


def _failure(folder: Path, code: int) -> StageError:
    """What a rank said before it ended; torchrun ends with 1 whatever its ranks end with."""
    if (folder / _FAILURE).exists():
        return StageError.from_facts(read_json(folder / _FAILURE))
    mend = "its error stands above; the same command goes on from here"
    return StageError(f"a rank died (torchrun ended with {code})", where=str(folder), mend=mend)


def score_rank(folder: Path, *, rank: int, size: int, device: str | None = None) -> int:
    """Score every shard rank, rank + size, ... of a prepared folder that is not there; returns how many that were."""
    from components.scoring.score import score_shard

    mine = [number for number in range(rank, shards(folder), size) if not shard(folder, number).exists()]
    for number in mine:
        score_shard(folder, number, device=device)
    return len(mine)


def main(arguments: list[str]) -> int:
    """A rank's side: FOLDER [--device DEVICE] [--guarded]; without a device, that of the scoring."""
    folder = Path(arguments[0])
    device = arguments[arguments.index("--device") + 1] if "--device" in arguments else None
    if _GUARDED in arguments:
        # A command that was killed with -9 must leave nobody behind who writes into its folder.
        when_the_parent_ends(lambda: os._exit(1))
    prepare()
    try:
        score_rank(folder, rank=int(os.environ["RANK"]), size=int(os.environ["WORLD_SIZE"]), device=device)
    except StageError as error:
        publish_json(folder / _FAILURE, error.facts())
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
