"""Run stages in workspaces of their own, N at a time; skip finished ones, resume interrupted ones.

Each stage is a process with one thread: the number of threads decides the last bits, so figures do not depend on N. Its
output is in log.txt of its workspace, its progress in progress.jsonl, what became of it in state.json.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import BadInput, Interrupted
from components.processes.child import Child
from components.processes.environment import python_path
from components.processes.signals import Stop
from components.stages import PROGRESS_FILE
from components.storage.artifacts import publish_json, read_json
from components.storage.lock import locked
from flows.repro import message_of

_SAVE_SECONDS = 5.0
"""So much time of a killed stage is not counted at most."""
_WAIT_SECONDS = 60.0


@dataclass
class Work:
    """Stages to run in one workspace, one after the other, and how far they are."""

    title: str
    place: Path
    stages: tuple[str, ...]
    done: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    exit_code: int = 0
    message: str = ""

    @classmethod
    def at(cls, title: str, place: Path, stages: tuple[str, ...]) -> Work:
        """As an earlier call left it; what failed then is tried again."""
        file = place / "state.json"
        state: dict[str, Any] = read_json(file) if file.is_file() else {}
        return cls(title, place, stages, state.get("done", []), state.get("seconds", {}))

    @property
    def finished(self) -> bool:
        return set(self.stages) <= set(self.done)

    def save(self) -> None:
        state = {"done": self.done, "seconds": self.seconds, "exit_code": self.exit_code, "message": self.message}
        publish_json(self.place / "state.json", state)


@dataclass
class _Running:
    """A process, its stage, and when its seconds were last counted."""

    work: Work
    stage: str
    child: Child
    counted: float
    log_at: int

    def count(self) -> None:
        """Add the time since the last count to the stage's seconds."""
        now = time.monotonic()
        spent = self.work.seconds.get(self.stage, 0.0) + now - self.counted
        self.work.seconds[self.stage], self.counted = round(spent, 3), now
        self.work.save()


class Runner:
    """Runs work with the environment of the grid. Holds its lock, as every process that it starts does."""

    def __init__(self, lock: int, environment: Mapping[str, str]) -> None:
        one = {"OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
        self._lock, self._environment = lock, {**os.environ, **environment, **one}

    def run(self, work: Sequence[Work], jobs: int, begin: Callable[[Work], None], end: Callable[[Work], None]) -> None:
        """Run what is not finished, `jobs` at a time; `begin` and `end` are told of each.

        A stage that fails ends its own work and no other. Raises `Interrupted` after SIGINT or SIGTERM, when all
        processes have saved their checkpoints; a second signal kills them.
        """
        waiting, running = deque(each for each in work if not each.finished), list[_Running]()

        def hand_on(count: int) -> None:
            for each in running:
                each.child.send(signal.SIGTERM if count == 1 else signal.SIGKILL, group=False)

        with Stop(hand_on).listening() as stop:
            try:
                while running or (waiting and not stop.requested):
                    while waiting and len(running) < jobs and not stop.requested:
                        begin(waiting[0])
                        running.append(self._start(waiting.popleft()))
                        if stop.requested:  # it came while the process was starting
                            hand_on(1)
                    for each in list(running):
                        self._look(each, running, stopping=stop.requested, end=end)
                    time.sleep(0.1)
            finally:
                hand_on(1)  # only after an error is one still running
        if stop.requested:
            raise Interrupted("stopped", where="the grid", mend="the same command goes on from the checkpoints")

    def _start(self, work: Work) -> _Running:
        stage = next(name for name in work.stages if name not in work.done)
        work.seconds.setdefault(stage, 0.0)
        work.save()
        log = work.place / "log.txt"
        with log.open("ab") as stream:
            at = stream.tell()
            child = Child(
                [sys.executable, "-m", "flows.ablation.stage", stage],
                cwd=work.place,
                environment={**self._environment, PROGRESS_FILE: str(work.place / "progress.jsonl")},
                output=stream.fileno(),
                tied=True,
                keep_open=(self._lock,),
            )
        return _Running(work, stage, child, time.monotonic(), at)

    def _look(self, each: _Running, running: list[_Running], *, stopping: bool, end: Callable[[Work], None]) -> None:
        work, code = each.work, each.child.code
        if code is None:
            if time.monotonic() - each.counted >= _SAVE_SECONDS:
                each.count()
            return
        running.remove(each)
        each.child.wait()
        if code == 0:
            work.done.append(each.stage)
        elif not stopping:
            work.exit_code, work.message = code, _message(each, code)
        each.count()
        if work.finished or work.message:
            end(work)
        elif code == 0 and not stopping:
            running.append(self._start(work))


def _message(each: _Running, code: int) -> str:
    """What the stage said at its end, or the last line of its log."""
    with (each.work.place / "log.txt").open("rb") as stream:
        stream.seek(each.log_at)
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return message_of(each.stage, lines) or f"{each.stage}: ended with {code}: {last}"


def grid_lock(root: Path) -> contextlib.AbstractContextManager[int]:
    """The lock of a grid's folder, as a file descriptor; waits for the processes of a call that was killed.

    Raises `BadInput` where another call is at work.
    """
    mend = "wait until it has ended, or end it; then run this again"
    busy = BadInput("another call works on this grid", where=str(root), mend=mend)
    return locked(root / "lock", busy, seconds=_WAIT_SECONDS)
