"""Score by processes of this machine, each of which takes the next shard that is left.

The parent hands out numbers and never loads the model. Each worker has a pipe of its own to the parent and nobody
else has an end of it: a parent that is killed closes it, and the worker ends at its next word.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from components.errors import Interrupted, StageError
from components.progress import Progress

_TICK_SECONDS = 0.25


@dataclass(frozen=True)
class ShardProgress:
    """How far a shard is."""

    number: int
    """Of the shard."""
    share: float
    """How much of it is decoded, 0 to 1."""
    done: bool
    """Whether it is published."""


class Team(Protocol):
    """Whoever scores the shards `numbers` of a prepared folder; yields what they say, and raises what they raise.

    `Interrupted` soon after `stopped()` is true, `StageError` for a worker that died for good. Finished shards stay.
    """

    def __call__(
        self, folder: Path, numbers: Sequence[int], *, workers: int, device: str, stopped: Callable[[], Any]
    ) -> Iterator[ShardProgress]: ...


def interrupted(folder: Path) -> Interrupted:
    """What a team raises when it was stopped."""
    return Interrupted("stopped; finished shards are kept", where=str(folder), mend="run the same command again")


def score_shards(
    folder: Path, numbers: Sequence[int], *, workers: int, device: str, stopped: Callable[[], Any]
) -> Iterator[ShardProgress]:
    """The `Team` of `workers` processes of this machine."""
    left, team = deque(numbers), dict[Connection, BaseProcess]()
    try:
        for _ in range(min(workers, len(left))):
            ours, process = _start(folder, device)
            team[ours] = process
            ours.send(left.popleft())
        while team:
            if stopped():
                raise interrupted(folder)
            for connection in wait(list(team), timeout=_TICK_SECONDS):
                assert isinstance(connection, Connection)
                process = team[connection]
                try:
                    step = _receive(connection)
                    if step.done and left:
                        connection.send(left.popleft())
                    elif step.done:
                        connection.close()  # nothing is left: the worker reads the end of the pipe, and ends
                        team.pop(connection).join()
                except (EOFError, ConnectionError):  # reset, where it was killed before it read all that we sent
                    # What stops us reaches the whole group, and a worker may be the first to end of it.
                    raise (interrupted(folder) if stopped() else _died(process, folder)) from None
                yield step
    finally:
        for process in team.values():
            process.kill()  # a shard is published whole or not at all
            process.join()


def _start(folder: Path, device: str) -> tuple[Connection, BaseProcess]:
    # Not forked: a forked child would hold the other workers' ends, and torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, folder, device), daemon=True)
    # Ctrl-C reaches the whole group, and the parent decides. Blocked before the worker is born, SIGINT stays so in it,
    # even while it imports. Python's tracker, which the first worker would start, unblocks it on its way.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


def _died(process: BaseProcess, folder: Path) -> StageError:
    process.join()
    return StageError(
        f"a worker died (exit code {process.exitcode})",
        where=str(folder),
        mend="its error stands above; out of memory (-9) wants fewer workers. The same command goes on from here",
    )


def _receive(connection: Connection) -> ShardProgress:
    """The next message of a worker; raises the error that it sends."""
    message = connection.recv()
    if isinstance(message, StageError):
        raise message
    return ShardProgress(*message)


def _work(connection: Connection, folder: Path, device: str) -> None:
    """Score the shards whose numbers come through the pipe, until it ends."""
    gc.disable()  # the imports make many objects that stay: looking through them again and again is slow
    from components.scoring.score import score_shard

    gc.freeze()
    gc.enable()
    try:
        while True:
            number = connection.recv()
            progress = Progress([_ShareSent(connection, number)], every_seconds=0.0)
            score_shard(folder, number, device=device, progress=progress)
            connection.send((number, 1.0, True))
    except StageError as error:
        connection.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(0)  # the parent has no more work, or is gone


class _ShareSent:
    """A progress sink that sends the parent how much of a shard is decoded."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection, self._number = connection, number

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "progress" and fields["total"]:
            self._connection.send((self._number, fields["done"] / fields["total"], False))

    def close(self) -> None:
        pass
