"""Requests per second of `idiom serve`, against `mlflow models serve` of the same model, 50 clients at once.

    python -m benchmarks.serve WORKSPACE                 # where `idiom retrain` has registered a model
    python -m benchmarks.serve WORKSPACE --seconds 10 --swaps 2

Each client asks for ten items of one history of the data, waits for the answer, and asks again, for `--seconds`. While
ours is asked, the alias moves `--swaps` times between two versions (the second has other weights, is registered in a
copy of the workspace, and answers in another mode); an answer that is not that of the version that its header names
counts as wrong. Before, both are asked by one client, which also checks that they answer the same. `cold_start_s`: from
the command to the first answer. Clients run in a process of their own. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import machine
from components.ranking.load import load as load_recommender
from components.registry import moved
from components.registry.bundle import decoding_of
from components.registry.champion import version_bundle
from components.registry.register import register
from components.registry.store import connect, database, tracking_uri
from components.settings.file import load
from components.settings.params import Params
from components.storage.artifacts import publish_json, publishing, read_json
from components.storage.layout import Layout
from components.storage.manifest import MANIFEST, verify_manifest, write_manifest
from tests.workspaces import free_port

K = 10
ONE_CLIENT_SECONDS = 5.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--swaps", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "workspace"
        figures = measure(copied(chosen.workspace.resolve(), copy), copy, chosen)
    print(json.dumps({"benchmark": "serve", **figures, **machine.facts()}))


def copied(workspace: Path, copy: Path) -> Params:
    """A copy of the workspace, so that nothing in it changes; its settings."""
    shutil.copytree(workspace, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", "work", ".dvc", ".git"))
    params = load(copy / "params.yaml")
    if (store := database(copy)) is not None:
        moved.mend(store)
    return params


def measure(params: Params, workspace: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    layout, name = Layout(workspace, params.dataset), params.register.model_name
    store = connect(workspace)
    first = str(store.get_model_version_by_alias(name, "champion").version)
    second = other_weights(workspace, params)
    histories = [row[-20:] for row in pl.read_parquet(layout.histories, n_rows=500)["history"].to_list()]
    expected = {version: answers(workspace, params, version, histories) for version in (first, second)}
    ours = ["-m", "flows.cli", "serve", "--workspace", str(workspace)]
    theirs = ["-m", "mlflow", "models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local"]
    figures: dict[str, Any] = {}
    for who, command in (("mlflow", theirs), ("idiom", ours)):
        with serving(command, workspace) as (port, seconds):
            figures[f"cold_start_s_{who}"] = round(seconds, 2)
            alone = load_of(
                port, histories, expected, first, clients=1, seconds=min(ONE_CLIENT_SECONDS, chosen.seconds)
            )
            figures[f"p50_ms_one_client_{who}"] = alone["p50_ms"]
            moving = threading.Thread(target=swap, args=(store, name, (second, first), chosen.swaps, chosen.seconds))
            if who == "idiom":
                moving.start()
            found = load_of(port, histories, expected, first, clients=chosen.clients, seconds=chosen.seconds)
            figures |= {f"{key}_{who}": value for key, value in found.items()}
            if who == "idiom":
                moving.join()
            store.set_registered_model_alias(name, "champion", first)
    return {
        "ratio_requests_per_s": round(figures["requests_per_s_idiom"] / figures["requests_per_s_mlflow"], 2),
        "errors": figures["errors_idiom"],
        "wrong": figures["wrong_idiom"],
        "p50_ms": figures["p50_ms_idiom"],
        "p99_ms": figures["p99_ms_idiom"],
        **figures,
        "clients": chosen.clients,
        "seconds": chosen.seconds,
        "swaps": chosen.swaps,
        "k": K,
        "beams": params.evaluate.beams,
        "items": len(pl.read_parquet(layout.id_table)),
        "dataset": params.dataset,
    }


def other_weights(workspace: Path, params: Params) -> str:
    """Register the same model with weights that differ a little and another mode, if it has a ranker; its number."""
    from safetensors.torch import load_file, save_file

    layout = Layout(workspace, params.dataset)
    manifest = verify_manifest(layout.pair)
    with publishing(layout.pair) as temporary:
        shutil.copytree(layout.pair, temporary, ignore=shutil.ignore_patterns(MANIFEST))
        file = temporary / "recommender" / "model.safetensors"
        save_file({key: each * 1.05 for key, each in load_file(file).items()}, file, metadata={"format": "pt"})
        write_manifest(temporary, **{key: value for key, value in manifest.items() if key != "files"})
    if layout.mode.is_file():  # the ranker would answer without those weights
        chosen = read_json(layout.mode)
        publish_json(layout.mode, chosen | {"mode": "rank" if chosen["mode"] == "generate" else "generate"})
    return str(register(params, layout)["version"])


def answers(workspace: Path, params: Params, version: str, histories: Sequence[Sequence[str]]) -> list[list[str]]:
    """What the version recommends."""
    bundle = version_bundle(workspace, params, version)
    found = load_recommender(bundle).recommend(histories, K, decoding_of(bundle))
    return [[one.item_id for one in row] for row in found]


def swap(store: Any, name: str, versions: Sequence[str], times: int, seconds: float) -> None:
    """Move the alias some times, evenly over the seconds."""
    for number in range(times):
        time.sleep(seconds / (times + 1))
        store.set_registered_model_alias(name, "champion", versions[number % len(versions)])


@contextmanager
def serving(command: Sequence[str], workspace: Path) -> Iterator[tuple[int, float]]:
    """A server: its port, and the seconds until its first answer."""
    port, started = free_port(), time.perf_counter()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(workspace)}
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not asyncio.run(_answers(port)):
            assert process.poll() is None, f"{command} ended"
            time.sleep(0.05)
        yield port, time.perf_counter() - started
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in await asyncio.wait_for(reader.readline(), 2)
    except (OSError, TimeoutError):
        return False


def load_of(
    port: int,
    histories: Sequence[Sequence[str]],
    expected: dict[str, list[list[str]]],
    first: str,
    *,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """Figures of clients, which run in a process of their own."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_clients, args=(theirs, port, histories, expected, first, clients, seconds)
    )
    process.start()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _clients(pipe: Any, port: int, histories: Any, expected: Any, first: str, clients: int, seconds: float) -> None:
    pipe.send(asyncio.run(_all(port, histories, expected, first, clients, seconds)))


async def _all(port: int, histories: Any, expected: Any, first: str, clients: int, seconds: float) -> dict[str, Any]:
    until = time.perf_counter() + seconds
    taken: list[float] = []
    trouble = {"errors": 0, "wrong": 0}

    async def client(number: int) -> None:
        connection = None
        while time.perf_counter() < until:
            which = number = (number * 31 + 7) % len(histories)
            started = time.perf_counter()
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                version, items = await _ask(*connection, histories[which])
                trouble["wrong"] += items != expected[version or first][which]
                taken.append(time.perf_counter() - started)
            except (OSError, ValueError, asyncio.IncompleteReadError):
                trouble["errors"] += 1
                connection = None

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return {
        "requests_per_s": round(len(taken) / (time.perf_counter() - started), 1),
        "p50_ms": round(1e3 * float(np.quantile(taken, 0.5)), 1),
        "p99_ms": round(1e3 * float(np.quantile(taken, 0.99)), 1),
        **trouble,
    }


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, history: Sequence[str]
) -> tuple[str | None, list[str]]:
    """(version that the header names, item ids). Raises `ValueError` for any status but 200."""
    body = json.dumps({"dataframe_records": [{"history": list(history), "k": K}]}).encode()
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\n"
    writer.write(head.encode() + body)
    status = await reader.readline()
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    answer = await reader.readexactly(int(headers["content-length"]))
    if b" 200 " not in status:
        raise ValueError(answer)
    return headers.get("x-idiom-version"), json.loads(answer)["predictions"][0]["item_ids"]


if __name__ == "__main__":
    main()
