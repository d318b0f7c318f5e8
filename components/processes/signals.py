"""Do something else with SIGINT and SIGTERM for a while. Standard library only."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def on_signal(action: Callable[[int], None] = lambda count: None) -> Iterator[Callable[[], int]]:
    """Inside the block SIGINT and SIGTERM call `action` with how many have come so far, and do not end this process.

    Yields a function that tells how many have come. Open the block before a program is started: else it would inherit
    the ignored SIGINT of a background job and could not be asked to stop. Outside the main thread Python cannot set
    handlers: nothing changes there.
    """
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        action(count)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a program's end and return its exit code; signals are handled meanwhile.

    Not `process.wait()`: when two signals come together, the second may go to another thread (a library's), which takes
    both; the main thread then sleeps on in waitpid, and the handlers run when the program has ended: never.
    """
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=1.0)
