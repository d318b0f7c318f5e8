"""A real `idiom serve` of one of two registered versions, shared by the tests of a module."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.media.pictures import thumbnail
from components.recommender.engine import Engine
from components.registry.champion import version_bundle
from components.settings.decoding import Decoding
from components.settings.file import from_dict
from components.storage.artifacts import publishing
from components.storage.layout import Layout
from components.storage.thumbnails import SCHEMA
from tests.left_behind import Marked
from tests.media.test_media import png
from tests.registry.workspace import ITEMS, empty_store, register_untrained
from tests.workspaces import free_port

PICTURE = thumbnail(png((30, 90, 200), (40, 80)), side=64, most_pixels=10_000, seconds=5)
"""Of the first six items; the other two have none."""
HISTORIES = [[ITEMS[number], ITEMS[(number + 3) % 8]] for number in range(8)]


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace with two versions of other weights, champion and challenger, and what each of them answers."""
    workspace = tmp_path_factory.mktemp("followed")
    (workspace / "mlflow.db").write_bytes(empty_store().read_bytes())
    rows = {"item_id": ITEMS[:6], "picture": [PICTURE] * 6}
    with publishing(Layout(workspace, "tiny").thumbnails) as temporary:
        pq.write_table(pa.table(rows, schema=SCHEMA), temporary)
    answers = {}
    for seed in (3, 4):
        number, params = register_untrained(workspace, seed=seed), from_dict({"dataset": "tiny"})
        found = Engine.load(version_bundle(workspace, params, number), device="cpu").recommend(HISTORIES, 5, Decoding())
        answers[number] = [[one.item_id for one in row] for row in found]
    assert answers["1"] != answers["2"]
    return workspace, answers


@pytest.fixture(scope="session")
def served(two_versions: tuple[Path, Any]) -> Iterator[str]:
    """`idiom serve`, which follows the champion."""
    workspace, port = two_versions[0], free_port()
    started = Marked("flows.cli", "serve", "--workspace", ".", "--port", str(port), cwd=workspace)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: status(f"{address}/ready") == 200)
        yield address
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(timeout=60) == 0 and not started.left(10), started.log.read_text()
    finally:
        started.end()


def wait_until(look: Any, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def asked(url: str) -> Any:
    """What an address answers, as JSON."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
