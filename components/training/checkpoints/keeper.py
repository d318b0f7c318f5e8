"""When a checkpoint is written: after so many seconds, at the end of each phase, and when a signal asks to stop."""

from __future__ import annotations

import time

from components.processes.signals import Stop
from components.training.checkpoints.checkpoint import Checkpoints
from components.training.checkpoints.state import State
from components.training.devices.cost import Meter
from components.training.devices.ranks import Ranks


class Keeper:
    """Saves the state on the first rank; all ranks hold the same, so that no message is needed for it."""

    def __init__(self, state: State, checkpoints: Checkpoints, ranks: Ranks, stop: Stop, *, seconds: float) -> None:
        self.stop = stop
        self._state, self._checkpoints, self._ranks = state, checkpoints, ranks
        self._seconds = seconds
        self.meter: Meter | None = None
        """Of the phase in progress."""
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether more than the allowed seconds of work are unsaved."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self) -> None:
        """Write a checkpoint now."""
        if self.meter is not None:
            self._state.spent = self.meter.spent()
        if self._ranks.first:
            self._checkpoints.save(self._state)
        self._saved = time.monotonic()

    def boundary(self, *, stop: bool, due: bool) -> None:
        """Between two steps. Raises `Interrupted` where a stop was asked for; whoever catches it saves."""
        if stop:
            raise self.stop.error()
        if due:
            self.save()
