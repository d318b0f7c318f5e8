"""A time limit of a flow: at its end the flow gets what Ctrl-C sends, so that the stage saves its checkpoint.

    with time_limit(20.0) as limit:
        state = ...                      # ends as Interrupted when the time is over
    limit.reached

Prefect's own time-outs raise an exception in the flow's thread, at which a training would lose what it has.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Limit:
    """A limit in hours, and whether it was reached."""

    hours: float | None
    reached: bool = False

    @property
    def words(self) -> str:
        return f"stopped after its limit of {self.hours:g} hours; the next run goes on from where it was"


@contextmanager
def time_limit(hours: float | None) -> Iterator[Limit]:
    """Send SIGTERM to this process after so many hours, if the block has not ended by then; None: never."""
    limit = Limit(hours)
    if hours is None:
        yield limit
        return

    def end() -> None:
        limit.reached = True
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(hours * 3600, end)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
