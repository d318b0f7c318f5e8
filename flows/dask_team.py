"""The team of Dask workers for `idiom score`: one task a shard, on a cluster of this machine or at an address.

    idiom score --on dask --workers 4              # a cluster of its own, which ends with the command
    idiom score --dask tcp://scheduler:8786        # one that runs, whose workers see the same folders and code

A task is `score_shard` with a folder and a number. Dask starts the task of a worker that died on another one; a shard
is published whole and once, whoever scores it. Workers with one thread are best, and need this repository alone.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BadInput, StageError

if TYPE_CHECKING:
    from components.recommender.bulk.workers import Step

_TICK_SECONDS = 0.25
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 120
"""How long the first worker of a cluster may take to come."""


def on_dask(
    folder: Path,
    numbers: Sequence[int],
    *,
    workers: int,
    device: str,
    stopped: Callable[[], Any],
    address: str | None = None,
) -> Iterator[Step]:
    """The `Team` (components/recommender/bulk/workers.py) of Dask workers; `workers` counts without an address.

    Raises `BadInput` without Dask, a scheduler at `address` or a worker there; `StageError` for a shard whose worker
    dies again and again.
    """
    from components.recommender.bulk.score import score_shard
    from components.recommender.bulk.workers import Step, interrupted

    if not numbers:
        return
    ended: queue.Queue[Any] = queue.Queue()
    with _client(address, min(workers, len(numbers))) as client:
        yield Step(numbers[0], 0.0, False)
        shard_of = {
            client.submit(score_shard, folder, number, device=device, pure=False, priority=-number): number
            for number in numbers
        }
        for future in shard_of:
            future.add_done_callback(ended.put)
        while shard_of:
            if stopped():
                client.cancel(list(shard_of))
                raise interrupted(folder)
            try:
                future = ended.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            if future.status != "finished":
                raise _failure(future, folder)
            yield Step(shard_of.pop(future), 1.0, True)


@contextmanager
def _client(address: str | None, workers: int) -> Iterator[Any]:
    """A client whose cluster has a worker."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise BadInput(
            "Dask is not installed", where="idiom score", mend="pip install -c constraints.txt -e '.[dask]'"
        ) from error
    if address is None:
        # One thread a worker, as its results need; no dashboard, which wants more libraries and a port.
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise BadInput(
            f"no Dask scheduler answers: {error}", where=address, mend="start it (dask scheduler), or correct --dask"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            mend = f"start one: dask worker {address} --nthreads 1"
            raise BadInput("the Dask cluster has no worker", where=address, mend=mend) from error
        yield client


def _failure(future: Any, folder: Path) -> BaseException:
    """Why a task ended without a shard."""
    error = future.exception() if future.status == "error" else None
    if isinstance(error, StageError):
        return error
    what = f"a shard could not be scored on Dask ({future.status}): {error}"
    mend = "see the workers' logs; out of memory wants fewer workers. The same command goes on from here"
    return StageError(what, where=str(folder), mend=mend)
