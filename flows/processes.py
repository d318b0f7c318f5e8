"""Programs that the command line starts and stops: each in a session of its own, so that one Ctrl-C ends them in order.

In one session a Ctrl-C on the terminal hits everything at once: the Prefect server dies before the flow can tell it
how it ended. Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.processes.signals import on_signal, wait

_STOP_SECONDS = 15.0
INTERRUPTED = 130


def run_to_end(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    group: bool = False,
    tied: bool = False,
) -> int:
    """Run a program, hand SIGINT and SIGTERM on to it as SIGTERM, wait for its end, and return its exit code.

    group: to all of its process group, for a program that does not look after its own children. tied: its standard
    input is a pipe that ends with this process, even by `kill -9`; `when_the_parent_ends` hears it. A program that a
    signal ended gives 130 if we handed one on, else 128 + signal, as a shell says it.
    """
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(count: int) -> None:
        for process in started:
            if process.poll() is None:
                if group:
                    os.killpg(process.pid, signal.SIGTERM)
                else:
                    process.terminate()

    with on_signal(hand_on) as asked:
        given = subprocess.PIPE if tied else subprocess.DEVNULL
        started.append(subprocess.Popen(command, cwd=cwd, env=environment, stdin=given, start_new_session=True))
        if asked():  # it came while the program was starting
            hand_on(1)
        code = wait(started[0])
        if started[0].stdin is not None:
            started[0].stdin.close()
    if code < 0:
        return INTERRUPTED if asked() else 128 - code
    return code


class Service:
    """A server that runs until it is stopped; its output goes to a log file."""

    def __init__(self, name: str, command: Sequence[str], *, cwd: Path, log: Path) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """SIGTERM to it and its workers; SIGKILL to what is left after 15 s."""
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            if not self._group_alive():
                return
            os.killpg(self._process.pid, number)
            end = time.monotonic() + seconds
            while self._group_alive() and time.monotonic() < end:
                time.sleep(0.05)

    def _group_alive(self) -> bool:
        self._process.poll()  # reap it, or its zombie would keep the group alive
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def wait_until_one_ends(services: Sequence[Service], stopped: Callable[[], bool]) -> Service | None:
    """Wait until `stopped()` (None) or until a service has ended by itself (that one)."""
    while not stopped():
        for service in services:
            if not service.alive:
                return service
        time.sleep(0.2)
    return None
