"""Do something else with SIGINT and SIGTERM for a while. Standard library only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
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
