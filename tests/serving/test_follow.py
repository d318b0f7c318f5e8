"""`idiom serve` while the alias moves: no failed request, none answered by two versions, figures for Prometheus."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.registry.store import connect
from tests.serving.conftest import HISTORIES, asked, status, wait_until

pytestmark = pytest.mark.server

CLIENTS, SWAPS = 20, 4


def ask(address: str, histories: list[list[str]], k: int = 5) -> tuple[str, list[list[str]]]:
    """(version that answered, item ids of each row)."""
    body = json.dumps({"dataframe_records": [{"history": each, "k": k} for each in histories]}).encode()
    call = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=30) as answer:
        rows = json.load(answer)["predictions"]
        return answer.headers["x-idiom-version"], [row["item_ids"] for row in rows]


def test_no_request_fails_or_mixes_while_versions_are_swapped(
    served: str, two_versions: tuple[Path, dict[str, Any]]
) -> None:
    """Prevents an answer from a half-loaded model, of two models, or of the one that was rolled back, and an error."""
    workspace, answers = two_versions
    done, wrong, seen = threading.Event(), [], Counter[str]()

    def client(number: int) -> None:
        while not done.is_set():
            chosen = [(number + place) % 8 for place in range(1 + number % 3)]
            try:
                version, found = ask(served, [HISTORIES[each] for each in chosen])
                seen[version] += 1
                if found != [answers[version][each] for each in chosen]:
                    wrong.append((version, chosen, found))
            except Exception as error:
                wrong.append(error)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    store = connect(workspace)
    for swap in range(SWAPS):
        version = "21"[swap % 2]
        store.set_registered_model_alias("idiom", "champion", version)
        wait_until(lambda version=version: health(served)["version"] == version)
        time.sleep(0.5)
    done.set()
    for each in clients:
        each.join()
    assert not wrong, wrong[:3]
    assert set(seen) == {"1", "2"} and min(seen.values()) > 20, seen
    assert health(served)["swaps"] == SWAPS


def health(address: str) -> Any:
    return asked(f"{address}/health")


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(
    served: str, two_versions: tuple[Path, dict[str, Any]]
) -> None:
    """Prevents an outage by a promotion whose files are gone: it is counted, said, and the old version answers."""
    workspace, answers = two_versions
    store = connect(workspace)
    before = health(served)["version"]
    store.create_model_version("idiom", str(workspace / "gone"), tags={"idiom.bundle_sha256": "0" * 64})
    store.set_registered_model_alias("idiom", "champion", "3")
    try:
        wait_until(lambda: value(served, "idiom_load_failures") > 0)
        assert ask(served, HISTORIES[:1]) == (before, [answers[before][0]])
        assert status(f"{served}/ready") == 200
    finally:
        store.set_registered_model_alias("idiom", "champion", before)
    said = (workspace / "said.txt").read_text()
    assert said.count("the old version is served on") == 1


def value(address: str, name: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0][1])


def test_prometheus_reads_what_happened(served: str) -> None:
    """Prevents an outage that no dashboard shows: requests by status, rows, seconds, and which version answers."""
    before = value(served, "idiom_rows_total")
    ask(served, HISTORIES[:3])
    assert value(served, "idiom_rows_total") == before + 3
    with urllib.request.urlopen(f"{served}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert f'idiom_model_version{{alias="champion",version="{health(served)["version"]}"}} 1.0' in text
    assert 'idiom_requests_total{status="200"}' in text and "idiom_request_seconds_bucket" in text


def test_other_paths_and_types(served: str) -> None:
    """Prevents a form that is read as JSON, and a traceback for a wrong path."""
    call = urllib.request.Request(f"{served}/invocations", b"history=i0", {"Content-Type": "text/plain"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(call, timeout=10)
    assert refused.value.code == 415 and b"application/json" in refused.value.read()
    assert [status(f"{served}/{path}") for path in ("ping", "version", "nowhere")] == [200, 200, 404]
