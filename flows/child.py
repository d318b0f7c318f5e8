"""A program in a process group of its own: its output as it comes, and signals handed on to all of the group.

    with running(["dvc", "repro"], cwd=workspace, environment=os.environ) as child:
        for chunk in child.chunks():
            ...
    child.code

Standard library only.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.processes.signals import on_signal, wait

TICK_SECONDS = 0.25


class Child:
    """A running program; `code` is its exit code (negative: the signal that ended it) after the `with` block."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self._process, self._output = process, output
        self.code = 0

    def chunks(self) -> Iterator[bytes]:
        """Output as it comes; an empty chunk at least every quarter second. Ends when the program has ended."""
        ended = False
        ticked = 0.0
        while True:
            ready, _, _ = select.select([self._output], [], [], TICK_SECONDS)
            if ready:
                try:
                    chunk = os.read(self._output, 65536)
                except OSError:  # a terminal whose last user is gone reports an input/output error, not an end of file
                    return
                if not chunk:
                    return
                yield chunk
            elif ended:
                return  # a stray grandchild holds the pipe open: the program has ended, and nothing more came
            ended = self._process.poll() is not None
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                yield b""

    def lines(self) -> Iterator[str | None]:
        """Lines of output as they come (a carriage return ends one too); None at least every quarter second."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        for chunk in self.chunks():
            if not chunk:
                yield None
                continue
            *lines, rest = (rest + decoder.decode(chunk)).replace("\r", "\n").split("\n")
            yield from lines
        if rest:
            yield rest

    def send(self, number: int) -> None:
        """Send a signal to the whole group, if the program still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def wait(self) -> None:
        self.code = wait(self._process)


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], terminal: bool = False
) -> Iterator[Child]:
    """Start a program, and wait for its end when the block ends.

    While it runs, SIGINT and SIGTERM to this process go to its group: the first as SIGINT, to be obeyed when a
    checkpoint is saved, any further as SIGKILL. terminal: the program writes to a terminal of its own, so that it draws
    its bars as it would for a person.
    """
    children: list[Child] = []

    def hand_on(count: int) -> None:
        for child in children:
            child.send(signal.SIGINT if count == 1 else signal.SIGKILL)

    with on_signal(hand_on) as asked:
        reading, writing = _terminal() if terminal else os.pipe()
        try:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            children.append(Child(process, reading))
            if asked():  # it came while the program was starting
                children[0].send(signal.SIGINT)
            heard_out = False
            try:
                yield children[0]
                heard_out = True
            finally:
                if not heard_out:  # whatever ended the block, nobody listens to the program any more
                    children[0].send(signal.SIGINT)
                children[0].wait()
        finally:
            os.close(reading)


def _terminal() -> tuple[int, int]:
    """A terminal of the size of ours: (our end, the program's end)."""
    reading, writing = pty.openpty()
    size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
    return reading, writing
