"""What a person sees of a running stage: bars on a terminal, about a line a minute in a log. Standard library only.

    with reporting(Console(), JsonLines(path)) as progress:
        ...

The figures of every step and epoch stand in the JSON lines, in MLflow and in the training log; here the newest of a few
stand beside what they are figures of. Notes are lines in both: a phase of a training says what came of it in one.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

LINE_SECONDS = 60.0
"""Between two lines about a running task in a log."""
_SHOWN = {"loss": "loss", "valid_ndcg_at_10": "NDCG@10", "users_per_s": "users/s"}
"""Figures that are shown, by the last part of their name, and what they are called."""
_WIDTH = 24


@dataclass
class _Task:
    """What a console knows of a task, which others may interrupt: an epoch's validation, say, the training."""

    started: float
    first: int
    """Steps that were done when it was first heard of, by a training that goes on from a checkpoint."""

    def left(self, done: int, total: int | None) -> str:
        seconds = time.monotonic() - self.started
        if not total or done >= total:
            return f", {seconds:.1f} s"
        own = done - self.first
        return f", {seconds * (total - done) / own:.0f} s left" if own else ""


class Console:
    """A sink of components/progress.py for people.

    bars: false leaves out what is about running tasks, for a process whose bars somebody else draws.
    """

    def __init__(self, stream: TextIO | None = None, *, bars: bool = True) -> None:
        self._bars = bars
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._tasks: dict[str, _Task] = {}
        self._figures: dict[str, float] = {}
        self._spoke = time.monotonic()

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "progress" and self._bars:
            self._progress(fields["task"], fields["done"], fields["total"])
        elif event == "metrics":
            self._figures |= {name: value for name, value in fields["values"].items() if _last(name) in _SHOWN}
        elif event == "note":
            self._line(fields["text"])

    def close(self) -> None:
        self._stream.flush()

    def _progress(self, task: str, done: int, total: int | None) -> None:
        seen = self._tasks.get(task)
        if seen is None or done < seen.first:
            seen = self._tasks[task] = _Task(time.monotonic(), done)
            phase = task.partition(",")[0]  # what is known of it is of an earlier round
            self._figures = {name: value for name, value in self._figures.items() if _group(name) != phase}
        said = f"{done}/{total or '?'}{seen.left(done, total)}{self._words(task)}"
        ended = bool(total) and done >= total  # type: ignore[operator]
        if ended:  # the next of this name is another one
            del self._tasks[task]
        if self._live:
            filled = int(_WIDTH * (done / total if total else 0.0))
            bar = "━" * filled + "╌" * (_WIDTH - filled)
            # A line that is broken by the terminal's edge could not be taken back.
            line = f"{task:<28} {bar} {said}"[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r\x1b[K" + ("" if ended else line))
            self._stream.flush()
        elif time.monotonic() - self._spoke >= LINE_SECONDS:
            self._line(f"{task}: {said}")

    def _words(self, task: str) -> str:
        figures = {name: value for name, value in self._figures.items() if task.startswith(_group(name))}
        return "".join(f", {_SHOWN[_last(name)]} {value:.4g}" for name, value in figures.items())

    def _line(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._stream.flush()


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _group(name: str) -> str:
    """What a figure is of: `recommender/loss` of `recommender, round 2`; one without a group is of any task."""
    return name.rpartition("/")[0]
