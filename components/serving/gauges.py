"""Figures of a server for Prometheus: requests, rows, seconds, batches, the version that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, ClassVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components.serving.following import Following

COUNTED = "/invocations"
"""The path whose requests are counted."""
_Message = MutableMapping[str, Any]
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 1024)


class Gauges:
    """The figures of one app, in a registry of its own."""

    MEDIA_TYPE: ClassVar[str] = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._requests = Counter("idiom_requests", "Requests, by status.", ["status"], registry=own)
        self._rows = Counter("idiom_rows", "Users answered.", registry=own)
        self._seconds = Histogram("idiom_request_seconds", "From body to answer.", buckets=_SECONDS, registry=own)
        self._batch_rows = Histogram("idiom_batch_rows", "Users decoded together.", buckets=_ROWS, registry=own)
        self._batch_seconds = Histogram("idiom_batch_seconds", "Seconds of a batch.", buckets=_SECONDS, registry=own)
        self._waiting = Gauge("idiom_waiting_requests", "Requests in the queue.", registry=own)
        self._swaps = Gauge("idiom_swaps", "Versions that took over since the start.", registry=own)
        self._failures = Gauge("idiom_load_failures", "Versions that could not be loaded.", registry=own)
        self._version = Gauge("idiom_model_version", "Version that answers, 1.", ["alias", "version"], registry=own)

    def answered(self, rows: int, seconds: float) -> None:
        """Rows that were answered."""
        self._rows.inc(rows)
        self._seconds.observe(seconds)

    def request(self, status: int) -> None:
        """A request, whatever became of it."""
        self._requests.labels(str(status)).inc()

    @contextmanager
    def batch(self, rows: int) -> Iterator[None]:
        """Around the decoding of a batch."""
        started = perf_counter()
        try:
            yield
        finally:
            self._batch_rows.observe(rows)
            self._batch_seconds.observe(perf_counter() - started)

    def text(self, following: Following, waiting: int) -> bytes:
        """All figures, in Prometheus's format."""
        self._waiting.set(waiting)
        self._swaps.set(following.swaps)
        self._failures.set(following.failures)
        self._version.clear()
        if model := following.model:
            self._version.labels(following.alias, model.version).set(1)
        return generate_latest(self._registry)


class Counted:
    """Counts each request of an app by the status of its answer: an ASGI middleware around all others, as some refuse
    requests before the app sees them, and a bug is a 500 that the server answers."""

    def __init__(self, app: Callable[[_Message, Any, Any], Awaitable[None]], *, gauges: Gauges) -> None:
        self._app, self._gauges = app, gauges

    async def __call__(self, scope: _Message, receive: Any, send: Callable[[_Message], Awaitable[None]]) -> None:
        if scope["type"] != "http" or scope["path"] != COUNTED:
            await self._app(scope, receive, send)
            return

        async def counted(message: _Message) -> None:
            if message["type"] == "http.response.start":
                self._gauges.request(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            self._gauges.request(500)
            raise
