"""The server: one ASGI app around the model behind an alias.

    app = make_app(workspace, params, alias="champion")

| path | answer |
|---|---|
| POST /invocations | as `mlflow models serve`: {"predictions": [...]}; header `x-idiom-version` |
| /ping, /version | as `mlflow models serve` |
| /health | 200 while the process lives: version, alias, since when |
| /ready | 200 once a model is loaded, else 503 |
| /metrics | Prometheus text |
| / | a page to try it (page.py) |
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from components.errors import StageError
from components.registry.limits import PARSED, Limits
from components.registry.requests import Refused, Row, rows_of
from components.serving.batching import Batches
from components.serving.following import Following, Model
from components.serving.gauges import COUNTED, Counted, Gauges
from components.serving.page import TryPage
from components.settings.decoding import Mode
from components.settings.params import Params

LOOK_SECONDS = 1.0
"""Between two looks at the alias."""


class Server:
    """The state of the app: the followed model, the queue, the figures."""

    def __init__(self, workspace: Path, params: Params, *, alias: str, mode: Mode | None = None) -> None:
        self.following = Following(workspace, params, alias, mode)
        self.gauges = Gauges()
        self.started = time.time()
        self._loaded = asyncio.Event()
        self._batches: Batches | None = None

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Follow the alias and answer until the app ends."""
        self._batches = Batches(self._answer)
        look = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
            await self._batches.close()

    async def invocations(self, request: Request) -> Response:
        """Recommendations for the rows of the body."""
        started = time.perf_counter()
        if PARSED not in request.scope:
            return _refused(415, "send JSON, with the header Content-Type: application/json")
        try:
            rows = rows_of(request.scope[PARSED])
        except Refused as error:
            return _refused(400, str(error))
        await self._loaded.wait()
        assert self._batches is not None
        model, answers = await self._batches.ask(rows)
        self.gauges.answered(len(rows), time.perf_counter() - started)
        return JSONResponse({"predictions": answers}, headers={"x-idiom-version": model.version})

    async def health(self, _: Request) -> Response:
        """What is served, and since when."""
        model = self.following.model
        return JSONResponse(
            {
                "status": "ready" if model else "loading",
                "alias": self.following.alias,
                "version": model.version if model else None,
                "bundle_sha256": model.digest if model else None,
                "started": round(self.started, 3),
                "swaps": self.following.swaps,
            }
        )

    async def ready(self, _: Request) -> Response:
        """Whether a question is answered now."""
        return Response(status_code=200 if self._loaded.is_set() else 503)

    async def ping(self, _: Request) -> Response:
        """As MLflow's server: 200 once there is a model."""
        return Response("\n", status_code=200 if self._loaded.is_set() else 503)

    async def version(self, _: Request) -> Response:
        """As MLflow's server: the version of MLflow, which clients look at to choose a format."""
        from importlib.metadata import version

        return Response(version("mlflow"), media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """Figures for Prometheus."""
        waiting = self._batches.depth if self._batches else 0
        return Response(self.gauges.text(self.following, waiting), media_type=self.gauges.MEDIA_TYPE)

    def _answer(self, rows: Sequence[Row]) -> tuple[Model, list[dict[str, Any]]]:
        """In the thread of the batch: all rows by the model that is there when it begins."""
        model = self.following.model
        assert model is not None
        with self.gauges.batch(len(rows)):
            asked = ([row.history for row in rows], [row.k for row in rows], [row.times for row in rows])
            return model, model.answers(*asked)

    async def _follow(self) -> None:
        """Look at the alias for as long as the app runs."""
        while True:
            try:
                if await run_in_threadpool(self.following.refresh):
                    model = self.following.model
                    assert model is not None
                    said = f"serving version {model.version} ({self.following.alias}), loaded in {model.seconds:.1f} s"
                    print(said, file=sys.stderr, flush=True)
                    self._loaded.set()
            except StageError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
            except Exception as error:  # a store that fails in a new way must not end the service
                self.following.failures += 1
                print(f"warning: looking at the alias failed: {error!r}", file=sys.stderr, flush=True)
            await asyncio.sleep(LOOK_SECONDS)


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"error_code": "BAD_REQUEST", "message": reason}, status_code=status)


def make_app(workspace: Path, params: Params, *, alias: str, mode: Mode | None = None) -> Starlette:
    """The app, which loads its model once it runs. mode: who answers, instead of whom a version names."""
    server = Server(workspace, params, alias=alias, mode=mode)
    app = Starlette(
        routes=[
            Route(COUNTED, server.invocations, methods=["POST"]),
            Route("/health", server.health),
            Route("/ready", server.ready),
            Route("/ping", server.ping),
            Route("/version", server.version),
            Route("/metrics", server.metrics),
            *TryPage(server.following, name=params.register.model_name).routes,
        ],
        exception_handlers={500: _broken},
        lifespan=server.running,
    )
    app.add_middleware(Limits)
    app.add_middleware(Counted, gauges=server.gauges)  # the last one is the outermost
    return app


async def _broken(_: Request, error: Exception) -> Response:
    """What a bug says to a client: no traceback, which stands in the log."""
    body = {"error_code": "INTERNAL_ERROR", "message": f"{type(error).__name__}; see the log of the server"}
    return Response(json.dumps(body), status_code=500, media_type="application/json")
