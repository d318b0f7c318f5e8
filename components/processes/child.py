"""Start a program in a process group of its own, read its output, hand signals on to it, wait for its end.

    with running(["dvc", "repro"], cwd=workspace, output="pipe") as child:
        for chunk in child.chunks():
            ...
    child.wait()                       # its exit code

    run_to_end(["mlflow", "models", "serve"], cwd=workspace)         # the exit code of a command

In the group of this process a Ctrl-C on the terminal would reach both at once: the Prefect server would be gone before
the flow could report how it ended.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from components.errors import Interrupted
from components.processes.signals import Stop

TICK_SECONDS = 0.25
SAVE_SECONDS = 660.0
"""How long a program may take to save what it has and to end when the process that started it is gone: its ranks have
600 s (torchrun.py)."""
STOP_SECONDS = 15.0
"""How long a server may take, which has nothing to save."""


class Child:
    """A program that runs in a process group of its own, or has ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        output: int | Literal["pipe", "terminal"] | None = None,
        tied: bool = False,
        watched: signal.Signals | None = None,
        grace: float = SAVE_SECONDS,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start it.

        output: a file descriptor, None for that of this process, or a pipe or terminal that `chunks` reads; on a
        terminal it draws its bars as it would for a person. keep_open: descriptors that it shares.

        Two ways to end it with this process, however that ends, even by `kill -9`; both by a pipe as its standard input
        that closes then. tied: it looks for that itself (`environment.stop_with_the_parent`). watched: it knows nothing
        of it, and watcher.py sends its group this signal, and SIGKILL after `grace` seconds.
        """
        self.signalled = False
        """Whether a signal was sent to it by this process."""
        reading, writing = _output(output)
        try:
            self._process = subprocess.Popen(
                [*_watcher(watched, grace), *command] if watched else command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.PIPE if tied or watched else subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=keep_open,
                start_new_session=True,
            )
        except BaseException:
            if reading is not None:
                os.close(reading)
            raise
        finally:
            if reading is not None and writing is not None:
                os.close(writing)
        self._reading = reading

    @property
    def pid(self) -> int:
        """Number of its process, and of the group that it leads."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code (negative: the signal that ended it); None while it runs."""
        code = self._process.poll()
        if code is not None and self._process.stdin is not None:
            # At once: its watcher must not wait on for a group whose number the system may give to another.
            self._process.stdin.close()
        return code

    def send(self, number: int, *, group: bool = True) -> None:
        """Send a signal to all of its group, or to the program alone, if it still runs."""
        if self.code is None:
            self.signalled = True
            if group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code; signals are handled meanwhile.

        Not `Popen.wait()`: when two signals come together, the second may go to another thread (a library's), which
        takes both; the main thread then sleeps on in waitpid, and the handlers run when the program has ended: never.
        """
        while self.code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1.0)
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
        return int(self._process.returncode)

    def kill(self) -> None:
        """SIGKILL to its group; what it has started in other groups ends by the pipe that ties it."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """SIGTERM to its group; SIGKILL to what is left of it after 15 s."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._group_lives():
                return
            os.killpg(self._process.pid, number)
            end = time.monotonic() + STOP_SECONDS
            while self._group_lives() and time.monotonic() < end:
                time.sleep(0.05)

    def _group_lives(self) -> bool:
        _ = self.code  # reap it, or its zombie would keep the group alive
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def chunks(self) -> Iterator[bytes]:
        """Output as it comes; an empty chunk at least every quarter second. Ends when the program has ended."""
        assert self._reading is not None
        ended = False
        ticked = 0.0
        while True:
            ready, _, _ = select.select([self._reading], [], [], TICK_SECONDS)
            if ready:
                try:
                    chunk = os.read(self._reading, 65536)
                except OSError:  # a terminal whose last user is gone reports an input/output error, not an end of file
                    return
                if not chunk:
                    return
                yield chunk
            elif ended:
                return  # a stray grandchild holds the pipe open: the program has ended, and nothing more came
            ended = self.code is not None
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


@contextmanager
def running(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    output: Literal["pipe", "terminal"] | None = None,
    first: signal.Signals = signal.SIGINT,
    further: signal.Signals = signal.SIGKILL,
    group: bool = True,
    grace: float = SAVE_SECONDS,
) -> Iterator[Child]:
    """Start a program, hand SIGINT and SIGTERM of this process on to it, and wait for its end when the block ends.

    The first signal is handed on as `first`, to be obeyed when a checkpoint is saved, any other as `further`; an
    exception in the block, and an end of this process without one, are as good as the first. group: to all of its
    group, or to the program alone, where it looks after its own children. Other arguments are those of `Child`.
    """
    children: list[Child] = []

    def hand_on(count: int) -> None:
        for child in children:
            child.send(first if count == 1 else further, group=group)

    with Stop(hand_on).listening() as stop, _reached(hand_on):
        children.append(Child(command, cwd=cwd, environment=environment, output=output, watched=first, grace=grace))
        if stop.requested:  # it came while the program was starting
            hand_on(1)
        try:
            yield children[0]
        except BaseException:
            hand_on(1)
            raise
        finally:
            children[0].wait()


_elsewhere: list[Callable[[int], None]] = []
"""Hands signals on to the programs that `running` has started in other threads than the main one."""


@contextmanager
def _reached(hand_on: Callable[[int], None]) -> Iterator[None]:
    if threading.current_thread() is threading.main_thread():
        yield
        return
    _elsewhere.append(hand_on)
    try:
        yield
    finally:
        _elsewhere.remove(hand_on)


@contextmanager
def handing_on() -> Iterator[Stop]:
    """For the main thread, while others call `running`: signals, which Python gives to the main thread alone, are
    handed on to all their programs."""

    def hand_on(count: int) -> None:
        for each in list(_elsewhere):
            each(count)

    with Stop(hand_on).listening() as stop:
        yield stop


def run_to_end(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    group: bool = False,
    grace: float = SAVE_SECONDS,
) -> int:
    """Run a program, hand SIGINT and SIGTERM on to it as SIGTERM, wait for its end, and return its exit code.

    A program that a signal ended gives 130 if we handed one on, else 128 + signal, as a shell does.
    """
    terminate = signal.SIGTERM
    with running(
        command, cwd=cwd, environment=environment, first=terminate, further=terminate, group=group, grace=grace
    ) as child:
        code = child.wait()
    if code < 0:
        return Interrupted.exit_code if child.signalled else 128 - code
    return code


def _watcher(first: signal.Signals, grace: float) -> list[str]:
    """What leads the command of a program that is watched: no libraries, 12 ms."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("watcher.py")), str(int(first)), str(grace)]


def _output(to: int | str | None) -> tuple[int | None, int | None]:
    """Descriptors of our end and of the program's end; a terminal has the size of ours."""
    if not isinstance(to, str):
        return None, to
    if to == "pipe":
        return os.pipe()
    reading, writing = pty.openpty()
    size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
    return reading, writing
