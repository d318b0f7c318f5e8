"""The figures of a server, in process: what is counted, whoever answered it. The model is made up."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from components.recommender.catalogue import Catalogue
from components.registry.limits import MAX_BYTES
from components.serving import app as serving
from components.serving import page
from components.settings.file import from_dict
from components.textid.table.id_table import IdTable


class Made:
    """Follows an alias whose model has a bug for one history."""

    def __init__(self, *_: Any) -> None:
        self.alias, self.swaps, self.failures = "champion", 0, 0
        self.model: Any = None

    def refresh(self) -> bool:
        catalogue = Catalogue(IdTable(("i0",), ("honey soap",), ((0,),)))
        answers = Answers(catalogue)
        changed = self.model is None
        self.model = SimpleNamespace(version="7", digest="d", seconds=0.0, answers=answers, pictures={})
        return changed

    def beside(self, alias: str) -> Made:
        return Made()


class Answers:
    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __call__(self, histories: list[list[str]], ks: list[int], times: Any = None) -> list[dict[str, Any]]:
        if ["bug"] in histories:
            raise ZeroDivisionError
        return [{"item_ids": ["i0"]} for _ in histories]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(serving, "Following", Made)
    app = serving.make_app(Path(), from_dict({"dataset": "tiny"}), alias="champion")
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


def test_every_request_is_counted_whoever_answers_it(client: TestClient) -> None:
    """Prevents an outage that no dashboard shows: a bug's 500 was counted nowhere, nor what was refused unread."""
    asked: list[tuple[Any, int]] = [
        ({"inputs": [{"history": ["i0"]}]}, 200),
        ({"inputs": [{"history": ["i0"], "k": 0}]}, 400),
        ({"inputs": [{"history": ["bug"]}]}, 500),
    ]
    for body, status in asked:
        assert client.post("/invocations", json=body).status_code == status
    json_type = {"Content-Type": "application/json"}
    assert client.post("/invocations", content=b"{", headers=json_type).status_code == 400
    assert client.post("/invocations", content=b" " * (MAX_BYTES + 1), headers=json_type).status_code == 413
    assert client.post("/invocations", content=b"a=b").status_code == 415
    assert client.get("/health").status_code == 200
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("idiom_requests_total{")]
    counts = {line.partition('"')[2].partition('"')[0]: float(line.split()[-1]) for line in lines}
    assert counts == {"200": 1, "400": 2, "413": 1, "415": 1, "500": 1}


def test_texts_to_search_are_made_in_a_thread(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a server that answers nobody while the first visitor of a version searches a large catalogue."""
    made_in: list[str] = []

    class Search:
        def __init__(self, catalogue: Catalogue) -> None:
            made_in.append(threading.current_thread().name)

        def __call__(self, query: str, most: int) -> list[int]:
            return [0]

    loop: list[str] = []
    version = serving.Server.version

    async def noted(self: Any, request: Any) -> Any:
        loop.append(threading.current_thread().name)
        return await version(self, request)

    monkeypatch.setattr(page, "CatalogueSearch", Search)
    monkeypatch.setattr(serving.Server, "health", noted)
    monkeypatch.setattr(serving, "Following", Made)
    app = serving.make_app(Path(), from_dict({"dataset": "tiny"}), alias="champion")
    with TestClient(app) as other:
        while other.get("/ready").status_code != 200:
            pass
        assert other.get("/items?q=honey").json()["items"][0]["words"] == "honey soap"
        other.get("/health")
    assert made_in and loop and made_in[0] != loop[0]
