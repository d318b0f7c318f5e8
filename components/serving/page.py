"""The page to try a model, and what it asks: items by words; recommendations of the champion beside the challenger.

| path | answer |
|---|---|
| GET / | the page: nothing in it comes from another server |
| GET /items?q=honey soap | {"items": [{"item_id", "title", "words"}]} |
| GET /picture?item=B001 | the JPEG that the model holds of an item; 404 where it has none |
| POST /try {"history": [...], "k": 10} | {"model", "seconds", "sides": [{"alias", "version", "sentence", "items"}]} |
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from components.errors import StageError
from components.pages.render import render
from components.registry.champion import CHALLENGER
from components.registry.limits import PARSED
from components.registry.requests import Refused, history_of, k_of
from components.serving.catalogue_search import CatalogueSearch
from components.serving.following import Following, Model

MOST_ITEMS = 20
CHALLENGER_SECONDS = 5.0
"""Between two looks whether there is a challenger."""


class TryPage:
    """Routes of the page, around the model that is served."""

    def __init__(self, champion: Following, *, name: str) -> None:
        """The challenger is loaded when the page is first asked: a service without visitors holds one model."""
        self._champion, self._challenger, self._name = champion, champion.beside(CHALLENGER), name
        self._looking, self._looked = threading.Lock(), -CHALLENGER_SECONDS
        self._searching = threading.Lock()
        self._searched: tuple[str, CatalogueSearch] | None = None

    @cached_property
    def routes(self) -> list[Route]:
        """What to add to the app."""
        return [
            Route("/", self.page),
            Route("/items", self.items),
            Route("/picture", self.picture),
            Route("/try", self.recommend, methods=["POST"]),
        ]

    async def page(self, _: Request) -> Response:
        """The page."""
        eyebrow = f"{self._name}, {self._champion.alias}"
        return HTMLResponse(
            render("try.html.jinja", scripts=["make.js", "try.js"], title=f"Try {self._name}", eyebrow=eyebrow)
        )

    async def items(self, request: Request) -> Response:
        """Items that have all words of `q`."""
        model = self._champion.model
        if model is None:
            return _refused(503, "no model is loaded yet")
        rows = await run_in_threadpool(self._search, model, request.query_params.get("q", "")[:200])
        return JSONResponse({"items": [_item(model, row) for row in rows]})

    async def picture(self, request: Request) -> Response:
        """The small picture of an item, by champion or challenger. They lie in a table: no name of a file is asked."""
        asked = request.query_params.get("item", "")
        models = [each.model for each in (self._champion, self._challenger) if each.model is not None]
        found = next((model.pictures[asked] for model in models if asked in model.pictures), None)
        if found is None:
            return _refused(404, "there is no picture of this item")
        headers = {"cache-control": "private, max-age=300", "x-content-type-options": "nosniff"}
        return Response(found, media_type="image/jpeg", headers=headers)

    async def recommend(self, request: Request) -> Response:
        """What champion and challenger recommend."""
        try:
            given = request.scope.get(PARSED)
            if not isinstance(given, dict):
                raise Refused("the body has to be an object with `history`")
            history, k = history_of(given.get("history"), 0), k_of(given.get("k"), 0)
        except Refused as error:
            return _refused(400, str(error))
        started = time.perf_counter()
        sides = await run_in_threadpool(self._sides, history, k)
        if not sides:
            return _refused(503, "no model is loaded yet")
        return JSONResponse({"model": self._name, "seconds": round(time.perf_counter() - started, 4), "sides": sides})

    def _sides(self, history: Sequence[str], k: int) -> list[dict[str, Any]]:
        found = []
        for following in (self._champion, self._with_challenger()):
            if following is not None and (model := following.model) is not None:
                (answer,) = model.answers([history], [k])
                columns = (answer[name] for name in ("item_ids", "textual_ids", "titles", "reasons"))
                names = ("item_id", "words", "title", "reason")
                rows = [dict(zip(names, each, strict=True)) for each in zip(*columns, strict=True)]
                items = [row | {"picture": row["item_id"] in model.pictures} for row in rows]
                side = {"alias": following.alias, "version": model.version, "sentence": answer["sentence"]}
                found.append({**side, "items": items})
        return found

    def _with_challenger(self) -> Following | None:
        """The challenger, if there is one that is not what is served anyway."""
        # Who asks while another one loads it waits: an answer of the champion alone would stay on the page.
        with self._looking:
            if time.monotonic() - self._looked > CHALLENGER_SECONDS:
                with suppress(StageError):  # no version has the alias, or its files are gone: the champion stands alone
                    self._challenger.refresh(keep=False)
                self._looked = time.monotonic()
        other, served = self._challenger.model, self._champion.model
        return None if other is None or served is None or other.digest == served.digest else self._challenger

    def _search(self, model: Model, query: str) -> list[int]:
        """In a thread: the texts of a million items take a second, once a version, and all requests would wait."""
        with self._searching:  # who asks meanwhile needs the same texts
            if self._searched is None or self._searched[0] != model.digest:
                self._searched = model.digest, CatalogueSearch(model.answers.catalogue)
            search = self._searched[1]
        return search(query, MOST_ITEMS)


def _item(model: Model, row: int) -> dict[str, Any]:
    catalogue = model.answers.catalogue
    item_id = catalogue.table.item_ids[row]
    return {
        "item_id": item_id,
        "picture": item_id in model.pictures,
        "title": catalogue.name(row),
        "words": catalogue.table.words[row],
    }


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"error_code": "BAD_REQUEST", "message": reason}, status_code=status)
