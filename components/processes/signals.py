"""Note SIGINT and SIGTERM in a flag, which a loop reads where it can stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from components.errors import Interrupted


class Stop:
    """A request to stop: the SIGINT and SIGTERM that came while `listening`.

        with Stop().listening() as stop:
            while not stop.requested:
                ...

    A section that changes nothing until its end (writing IDs, validating) is left at once: `with stop.at_once(): ...`.
    """

    def __init__(self, act: Callable[[int], object] = lambda count: None, *, give_back_sigint: bool = False) -> None:
        """act: is called in the handler with how many signals have come so far, to hand them on to a program, say.

        give_back_sigint: after the first SIGINT its former handler is back, so that whoever presses Ctrl-C a second
        time need not wait.
        """
        self.signal: str | None = None
        """Name of the latest signal."""
        self._act, self._give_back_sigint = act, give_back_sigint
        self._count = 0
        self._at_once = False
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        return self.signal is not None

    def error(self) -> Interrupted:
        """What a training raises once its state is saved."""
        return Interrupted(
            f"stopped by {self.signal or 'a signal to another rank'}; the checkpoint is saved",
            where="training",
            mend="run the same command again: it goes on from there",
        )

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Handle both signals inside the block; Python can only in the main thread, elsewhere nothing changes.

        Open the block before a program is started: it would inherit the ignored SIGINT of a background job, and could
        not be asked to stop.
        """
        if threading.current_thread() is threading.main_thread():
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
        self._count += 1
        if self._give_back_sigint and number == signal.SIGINT:
            # Not SIGTERM: a scheduler may send it to the group, and its parent pass it on once more.
            self._restore(signal.SIGINT)
        self._act(self._count)
        if self._at_once:
            raise self.error()

    def _restore(self, *numbers: int) -> None:
        for number in numbers:
            signal.signal(number, self._before.pop(number))  # type: ignore[arg-type]
