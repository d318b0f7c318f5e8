"""`idiom ui` for real: both servers answer, a flow finds the Prefect one, one signal ends both and leaves nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.registry.store import connect, experiment_id
from components.registry.view import publish_view
from flows.servers import run_ui
from tests.registry.workspace import empty_store

pytestmark = [pytest.mark.server, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def registered_in(workspace: Path) -> None:
    """A store with one training, its answer, and a model."""
    shutil.copyfile(empty_store(), workspace / "mlflow.db")
    client = connect(workspace)
    experiment = experiment_id(client, workspace, "mini")
    run = client.create_run(experiment, run_name="mini: first training").info.run_id
    client.log_metric(run, "answer/ndcg_at_10", 0.0784)
    client.log_metric(run, "cold_start/loss", 1.5)
    publish_view(client, experiment, ["answer/ndcg_at_10"])
    client.create_registered_model("idiom")


def in_a_browser(browser: Any, addresses: dict[str, str]) -> None:
    """What a person sees who opens the printed addresses for the first time, and whom their pages ask."""
    for name, seen in (
        ("MLflow", ("Run Name", "mini: first training", "answer/ndcg_at_10", "0.0784")),
        ("Models", ("idiom", "Versions")),
        ("Prefect", ("Runs", "Deployments")),
    ):
        page = browser.new_context(viewport={"width": 1600, "height": 900}).new_page()
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(addresses[name])
        for text in seen:
            page.get_by_text(text).first.wait_for(timeout=120_000)
        server = addresses[name].split("/#/")[0].rstrip("/")
        local = [url for url in asked if re.match(r"https?://(127\.0\.0\.1|localhost|0\.0\.0\.0)", url)]
        assert len(local) > 5 and all(url.startswith(server) for url in local), (name, local)
        page.context.close()


def test_ui_opens_where_it_should_and_one_signal_ends_both(
    mini: Any, monkeypatch: pytest.MonkeyPatch, browser: Any
) -> None:
    """Prevents: servers that outlive Ctrl-C and hold their ports, a UI on other stores than the runs', an MLflow that
    opens on prompts and traces, a table of runs without a figure, and a Prefect that asks port 4200 from another."""
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow, prefect = free_port(), free_port()
    asked_to_open = mini.root / "opened.txt"
    fake = mini.root / "browser.sh"
    fake.write_text(f'#!/bin/sh\necho "$1" > {asked_to_open}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{fake} %s")
    registered_in(mini.root)
    command = [sys.executable, "-m", "flows.cli", "ui", "--workspace", str(mini.root)]
    command += ["--mlflow-port", str(mlflow), "--prefect-port", str(prefect)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(4)]
        assert [line.split()[0] for line in said] == ["MLflow", "Models", "Prefect", "Ctrl-C"]
        addresses = {line.split()[0]: line.split()[1] for line in said}
        assert asked_to_open.read_text().strip() == addresses["MLflow"]
        in_a_browser(browser, addresses)
        note = json.loads((mini.root / ".prefect" / "ui.json").read_text())
        assert note == {"api": f"http://127.0.0.1:{prefect}/api"}

        flow = [sys.executable, "-m", "flows", str(mini.root)]
        done = subprocess.run(flow, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Starting temporary server" not in done.stdout + done.stderr
        query = urllib.request.Request(
            f"{note['api']}/flow_runs/count", data=b"{}", headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(query, timeout=10) as response:
            assert json.loads(response.read()) == 1

        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0
        assert time.monotonic() - started < 35
    finally:
        if process.poll() is None:
            process.kill()
    assert not listening(mlflow) and not listening(prefect)
    assert not (mini.root / ".prefect" / "ui.json").exists()


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    """Prevents: a traceback in a log file for the most common trouble, and one server left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "flows.cli", "ui", "--workspace", str(tmp_path), "--mlflow-port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr and "--mlflow-port" in done.stderr


def test_a_store_that_is_no_database_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: the last ten lines of SQLAlchemy's traceback, for a file that was cut off or is another's."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_text("junk" * 4096)
    with pytest.raises(BadInput, match="no SQLite file"):
        run_ui(tmp_path, free_port(), free_port(), print)
    assert not (tmp_path / "logs").exists()
