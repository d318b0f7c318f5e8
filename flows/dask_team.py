"""Score shards on Dask workers by `prefect-dask`: one Prefect task a shard.

    idiom score --on dask --workers 4              # a cluster of its own, which ends with the command
    idiom score --dask tcp://scheduler:8786        # one that runs, whose workers see the same folders and code

A task is `score_shard` with a folder and a number. Prefect tries one again when the storage hiccups, and Dask starts
that of a worker that died on another one; a shard is published whole and once, whoever scores it. Workers with one
thread are best. They need this repository, the extra `dask`, and an address of the Prefect server that they can reach.
The ends of shards that a worker could not report to the server, as it was killed or the run was stopped, are reported
at the end (`_settle`).
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.states import Cancelled, Crashed, State

from components.errors import BadInput, StageError

if TYPE_CHECKING:
    from prefect_dask import DaskTaskRunner

    from components.scoring.workers import ShardProgress

_log = logging.getLogger(__name__)

_RETRIES = 2
_RETRY_SECONDS = [1.0, 10.0]
_TICK_SECONDS = 0.25
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 120
"""How long the first worker of a cluster may take to come."""
_LAST_WORDS_SECONDS = 5.0
_PAGE = 200
"""Task runs that the server gives at a time."""


_STOPPED: State[Any] = Cancelled(message="the run ended before it")


def storage_hiccuped(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    """What a network file system does at times; a bad input or a bug comes again with the same input."""
    return isinstance(state.result(raise_on_failure=False), OSError)


@task(
    task_run_name="shard {number}",
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_SECONDS,
    retry_condition_fn=storage_hiccuped,
    cache_policy=NO_CACHE,  # the folder says what is done
    persist_result=False,
    result_serializer="json",
)
def score_one(folder: str, number: int, device: str) -> None:
    """Score a shard of a prepared folder and publish it."""
    from components.scoring.score import score_shard

    score_shard(Path(folder), number, device=device)


def on_dask(
    folder: Path,
    numbers: Sequence[int],
    *,
    workers: int,
    device: str,
    stopped: Callable[[], Any],
    address: str | None = None,
) -> Iterator[ShardProgress]:
    """The `Team` (components/scoring/workers.py) of Dask workers; `workers` counts without an address.

    Raises `BadInput` without Dask, a scheduler at `address` or a worker there; `StageError` for a shard whose worker
    dies again and again.
    """
    from components.scoring.workers import ShardProgress, interrupted

    if not numbers:
        return
    ended: queue.Queue[Any] = queue.Queue()
    with _runner(address, min(workers, len(numbers))) as runner:
        yield ShardProgress(numbers[0], 0.0, False)
        shard_of = {
            runner.submit(score_one, {"folder": str(folder), "number": number, "device": device}): number
            for number in numbers
        }
        ends = {future.task_run_id: (number, _STOPPED) for future, number in shard_of.items()}
        for future in shard_of:
            future.add_done_callback(ended.put)
        try:
            while shard_of:
                if stopped():
                    runner.client.cancel([future.wrapped_future for future in shard_of])
                    raise interrupted(folder)
                try:
                    future = ended.get(timeout=_TICK_SECONDS)
                except queue.Empty:
                    continue
                number, state = shard_of.pop(future), _end(future.wrapped_future)
                ends[future.task_run_id] = (number, state)
                if not state.is_completed():
                    raise _failure(state.result(raise_on_failure=False), folder)
                yield ShardProgress(number, 1.0, True)
        finally:
            _settle(ends)


@contextmanager
def _runner(address: str | None, workers: int) -> Iterator[DaskTaskRunner]:
    """A task runner whose cluster has a worker."""
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise BadInput(
            "Dask is not installed", where="idiom score", mend="pip install -c constraints.txt -e '.[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)  # Prefect's handler would print its every step
    if address is None:
        # One thread a worker, as its results need; any free port, for several clusters on a machine.
        cluster = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
        with DaskTaskRunner(cluster_kwargs=cluster) as runner:
            yield runner
        return
    with DaskTaskRunner(address=address, client_kwargs={"timeout": _CONNECT_SECONDS}) as runner:
        try:
            client = runner.client  # connects
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise BadInput(
                f"no Dask scheduler answers: {error}",
                where=address,
                mend="start it (dask scheduler), or correct --dask",
            ) from error
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            mend = f"start one: dask worker {address} --nthreads 1"
            raise BadInput("the Dask cluster has no worker", where=address, mend=mend) from error
        yield runner


def _settle(ends: dict[UUID, tuple[int, State[Any]]]) -> None:
    """Report the number and the end of task runs whose end the server does not know.

    A worker reports in the background, and one that is killed no more: a shard that is done would be shown as running
    for ever, or not at all. Reports of living workers are waited for a moment. A server that does not answer stops
    nothing: what is done is what lies in the folder.
    """
    try:
        _send_ends(ends)
    except (httpx.HTTPError, PrefectException) as error:
        _log.warning("Prefect was not told how all shards ended: %s", error)


def _send_ends(ends: dict[UUID, tuple[int, State[Any]]]) -> None:
    left, end = ends, time.monotonic() + _LAST_WORDS_SECONDS
    with get_client(sync_client=True) as client:
        while True:
            known = dict(_known(client, list(left)))
            left = {identity: left[identity] for identity in left if not known.get(identity)}
            if all(state is _STOPPED for _, state in left.values()) or time.monotonic() > end:
                break
            time.sleep(_TICK_SECONDS)
        for identity, (number, state) in left.items():
            if identity in known:
                client.set_task_run_state(identity, state, force=True)
            elif state is not _STOPPED:
                run = UUID(flow_run.get_id())
                client.create_task_run(score_one, run, str(identity), identity, f"shard {number}", state=state)


def _known(client: SyncPrefectClient, identities: Sequence[UUID]) -> Iterator[tuple[UUID, bool]]:
    """Those of the task runs that the server knows of, and whether it knows their end."""
    for start in range(0, len(identities), _PAGE):
        only = TaskRunFilter(id=TaskRunFilterId(any_=list(identities[start : start + _PAGE])))
        for found in client.read_task_runs(task_run_filter=only, limit=_PAGE):
            yield found.id, found.state is not None and found.state.is_final()


def _end(future: Any) -> State[Any]:
    """How a task ended: as it says, or by what became of its worker."""
    if future.status == "finished":
        ended: State[Any] = future.result()
        return ended
    error = future.exception() or RuntimeError(future.status)
    return Crashed(message=str(error), data=error)


def _failure(error: BaseException, folder: Path) -> BaseException:
    if isinstance(error, StageError):
        return error
    what = f"a shard could not be scored on Dask: {error}"
    mend = "see the workers' logs; out of memory wants fewer workers. The same command goes on from here"
    return StageError(what, where=str(folder), mend=mend)
