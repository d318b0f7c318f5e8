"""SIGTERM and SIGINT end a training at a place from which it can go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from components.errors import Interrupted


class Stop:
    """Notes the first SIGTERM or SIGINT; the step loop asks `requested` and stops between two steps.

    A section that changes nothing until its end (writing IDs, validating) is left at once: `with stop.at_once(): ...`.
    A second SIGINT meets the handler that stood before, so that an impatient person is obeyed.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._at_once = False
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        return self.signal is not None

    def error(self) -> Interrupted:
        """What to raise once the state is saved."""
        return Interrupted(
            f"stopped by {self.signal or 'a signal to another rank'}; the checkpoint is saved",
            where="training",
            mend="run the same command again: it goes on from there",
        )

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle both signals inside the block; only the main thread can, elsewhere the block changes nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        try:
            yield self
        finally:
            self._restore(*self._before)

    @contextmanager
    def at_once(self, *, alone: bool = True) -> Iterator[None]:
        """Inside the block a signal raises `Interrupted` immediately; one that came before raises on entry.

        alone: whether no other rank waits for this one. Where others do, the block changes nothing: they agree to stop
        at their next common step.
        """
        if not alone:
            yield
            return
        if self.requested:
            raise self.error()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        if number == signal.SIGINT:
            # Only SIGINT is given back: a scheduler may send SIGTERM to the group and its parent pass it on once more.
            self._restore(signal.SIGINT)
        if self._at_once:
            raise self.error()

    def _restore(self, *numbers: int) -> None:
        for number in numbers:
            signal.signal(number, self._before.pop(number))  # type: ignore[arg-type]
