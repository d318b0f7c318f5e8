"""One way to report progress and metrics: a console, a JSON-lines file that a flow can follow, MLflow.

    with reporting(JsonLines(path), Console()) as progress:
        for batch in progress.track(batches, "recommender round 1"):
            progress.metrics({"loss": 2.1}, step=batch.number)
    events = Follower(path).new()          # from another process, as often as it likes

Standard library only. A room gets a `Progress` and never knows which sinks listen; `registry` adds an MLflow sink.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

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


@contextmanager
def reporting(*sinks: Sink) -> Iterator[Progress]:
    """A `Progress` over `sinks`, closed at the end whatever happens."""
    progress = Progress(sinks)
    try:
        yield progress
    finally:
        progress.close()
