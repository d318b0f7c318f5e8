"""One way to report progress and metrics: a console bar, a JSON-lines file that a flow can follow, MLflow.

    with reporting(JsonLines(path), ConsoleBar()) as progress:
        for batch in progress.track(batches, "recommender round 1"):
            progress.metrics({"loss": 2.1}, step=batch.number)
    events = Follower(path).new()          # from another process, as often as it likes

Standard library only (rich is used for the bar where it is installed). A room gets a `Progress` and never knows which
sinks listen; `registry` adds an MLflow sink.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

T = TypeVar("T")


class Sink(Protocol):
    """Something that listens. Events: `progress` (task, done, total), `metrics` (values, step), `note` (text)."""

    def emit(self, event: str, fields: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Progress:
    """What a room calls. Calls cost microseconds, so call freely; bars are throttled here, metrics never are."""

    def __init__(self, sinks: Sequence[Sink] = (), *, every_seconds: float = 0.5) -> None:
        self._sinks = list(sinks)
        self._every = every_seconds
        self._last = 0.0

    def track(self, items: Iterable[T], task: str, total: int | None = None, start: int = 0) -> Iterator[T]:
        """Yield `items`, reporting how many are done. `start`: items done before (a resumed loop)."""
        if total is None and hasattr(items, "__len__"):
            total = start + len(items)  # type: ignore[arg-type]
        done = start
        self.advance(task, done, total, force=True)
        for item in items:
            yield item
            done += 1
            self.advance(task, done, total, force=done == total)

    def advance(self, task: str, done: int, total: int | None, *, force: bool = False) -> None:
        """Say that `done` of `total` steps of `task` are done."""
        now = time.monotonic()
        if force or now - self._last >= self._every:
            self._last = now
            self._emit("progress", {"task": task, "done": done, "total": total})

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Report figures at a step; names use `/` for grouping (`recommender/loss`)."""
        self._emit("metrics", {"values": dict(values), "step": step})

    def note(self, text: str, **fields: Any) -> None:
        """Report a line for people, with fields for machines."""
        self._emit("note", {"text": text, **fields})

    def _emit(self, event: str, fields: Mapping[str, Any]) -> None:
        for sink in self._sinks:
            sink.emit(event, fields)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class JsonLines:
    """Appends one JSON object an event, flushed at once, so that another process can follow the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8")

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps({"event": event, "time": time.time(), **fields}, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


class Follower:
    """Reads what another process appended to a file of `JsonLines` since the last look.

    A half-written last line is left for the next look.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """Events since the last call; none while the file does not exist (a cached stage never writes one)."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            read = stream.read()
        whole = read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@dataclass
class _Task:
    """What a bar knows of a task, which others may interrupt: an epoch's validation, say, the training."""

    started: float
    first: int
    """Steps that were done when it was first heard of, by a training that goes on from a checkpoint."""
    quarter: int = -1

    def left(self, done: int, total: int | None) -> str:
        seconds = time.monotonic() - self.started
        if not total or done >= total:
            return f", {seconds:.1f} s"
        own = done - self.first
        return f", {seconds * (total - done) / own:.0f} s left" if own else ""


class ConsoleBar:
    """A bar per task on a terminal; on a pipe, a line when a task starts and ends, and at each quarter.

    bars: false leaves both out, for a process whose progress somebody else draws."""

    def __init__(self, stream: TextIO | None = None, *, bars: bool = True) -> None:
        self._bars = bars
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._tasks: dict[str, _Task] = {}

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "progress" and self._bars:
            self._bar(fields["task"], fields["done"], fields["total"])
        elif event == "note":
            self._line(fields["text"])
        elif event == "metrics":
            self._line("  " + "  ".join(f"{name} {value:.4g}" for name, value in fields["values"].items()), quiet=True)

    def _bar(self, task: str, done: int, total: int | None) -> None:
        seen = self._tasks.get(task)
        if seen is None or done < seen.first:
            seen = self._tasks[task] = _Task(time.monotonic(), done)
        share = done / total if total else 0.0
        left = seen.left(done, total)
        if total and done >= total:  # the next of this name is another one
            del self._tasks[task]
        if self._live:
            filled = int(24 * share)
            bar = "━" * filled + "╌" * (24 - filled)
            self._stream.write(f"\r\x1b[K{task:<28} {bar} {done}/{total or '?'}{left}")
            if total and done >= total:
                self._stream.write("\n")
        elif int(4 * share) > seen.quarter:
            seen.quarter = int(4 * share)
            self._stream.write(f"{task}: {done}/{total or '?'}{left}\n")
        self._stream.flush()

    def _line(self, text: str, *, quiet: bool = False) -> None:
        if quiet and self._live:
            return
        self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


@contextmanager
def reporting(*sinks: Sink) -> Iterator[Progress]:
    """A `Progress` over `sinks`, closed at the end whatever happens."""
    progress = Progress(sinks)
    try:
        yield progress
    finally:
        progress.close()
