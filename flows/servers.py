"""Servers of MLflow and Prefect: their addresses, and `idiom ui`, which runs both on the stores of a workspace."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import BadInput
from components.processes.child import STOP_SECONDS, Child
from components.processes.signals import Stop
from components.storage.artifacts import publish_json
from flows.links import model_page, open_in_browser, runs_page

MLFLOW_PORT = 5000
PREFECT_PORT = 4200
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class _Planned:
    """A server to start: its command, the address that answers when it is ready, and what a person opens."""

    name: str
    command: list[str]
    health: str
    address: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, workspace: Path) -> Child:
        """Start it in the workspace, its output in its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as stream:
            return Child(
                self.command,
                cwd=workspace,
                environment=os.environ | self.environment,
                output=stream.fileno(),
                watched=signal.SIGTERM,
                grace=STOP_SECONDS,
            )


def answers(url: str, *, seconds: float = 2.0) -> bool:
    """Whether an HTTP server answers `url` with success."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:
            return 200 <= response.status < 300
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def adopt_running_prefect(workspace: Path) -> None:
    """Let a flow report to the server of `idiom ui` if it runs: progress shows at once, and none has to be started.

    An address that is set in the environment is left alone.
    """
    note = _note(workspace)
    if "PREFECT_API_URL" in os.environ or not note.is_file():
        return
    api = json.loads(note.read_text(encoding="utf-8"))["api"]
    if answers(f"{api}/health", seconds=1.0):
        os.environ["PREFECT_API_URL"] = api


def mlflow_address() -> str:
    """Where MLflow answers in a browser: the server that is set, else the one that `idiom ui` starts."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri.rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{MLFLOW_PORT}"


def run_ui(
    workspace: Path, mlflow_port: int, prefect_port: int, say: Callable[[str], None], *, browser: bool = False
) -> int:
    """Start what is not served elsewhere, say the addresses, and stop both on Ctrl-C or SIGTERM. Returns the exit code.

    browser: whether the runs are opened in one as well, where there is a screen. Raises `BadInput` for a port that is
    taken; 1 is returned when a server ends by itself.
    """
    names = _names(workspace)
    planned, elsewhere = _plan(workspace, mlflow_port, prefect_port)
    for name, address in elsewhere.items():
        _say_pages(name, address, names, say, browser=browser)
    if not planned:
        return 0
    servers: list[Child] = []
    note = _note(workspace)
    with Stop().listening() as stop:
        try:
            for each in planned:
                servers.append(each.start(workspace))
            for each, server in zip(planned, servers, strict=True):
                if not _ready(each, server, stop):
                    return 0 if stop.requested else _ended(each, say)
                _say_pages(each.name, each.address, names, say, browser=browser)
                if each.name == "Prefect":
                    publish_json(note, {"api": f"{each.address}/api"})
            say("Ctrl-C ends both.")
            while not stop.requested:
                for each, server in zip(planned, servers, strict=True):
                    if server.code is not None:
                        return _ended(each, say)
                time.sleep(_LOOK_SECONDS)
            return 0
        finally:
            note.unlink(missing_ok=True)
            for server in servers:
                server.stop()


def _names(workspace: Path) -> tuple[str, str] | None:
    """Experiment and model of the workspace; None where it says none. Raises `BadInput` for settings that are wrong."""
    from components.settings.file import load

    if not (workspace / "params.yaml").is_file():
        return None
    params = load(workspace / "params.yaml")
    return params.register.experiment or params.dataset, params.register.model_name


def _say_pages(
    name: str, address: str, names: tuple[str, str] | None, say: Callable[[str], None], *, browser: bool
) -> None:
    """The addresses of a server that a person should open, and the first of them in a browser."""
    if name != "MLflow" or names is None:
        say(f"{name:<8} {address}")
        return
    runs = runs_page(address, names[0])
    say(f"{name:<8} {runs}")
    say(f"{'Models':<8} {model_page(address, names[1])}")
    if browser:
        open_in_browser(runs)


def _plan(workspace: Path, mlflow_port: int, prefect_port: int) -> tuple[list[_Planned], dict[str, str]]:
    """What is to be started, and the addresses of what is served elsewhere (MLFLOW_TRACKING_URI, PREFECT_API_URL)."""
    from components.registry.store import prepare, tracking_uri

    planned, elsewhere, logs = [], {}, workspace / "logs"
    store = tracking_uri(workspace)
    if store.startswith("http"):
        elsewhere["MLflow"] = store.rstrip("/")
    else:
        prepare(workspace)
        address = free_address("--mlflow-port", mlflow_port)
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(mlflow_port)]
        # Its runners of jobs for judging language models are eight processes more, each with MLflow's imports.
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        planned.append(_Planned("MLflow", command, f"{address}/health", address, logs / "mlflow.log", settings))
    if api := os.environ.get("PREFECT_API_URL"):
        elsewhere["Prefect"] = api.removesuffix("/api")
    else:
        address = free_address("--prefect-port", prefect_port)
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(prefect_port)]
        # Its pages ask the port of the settings, whatever port the command names.
        settings = {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(prefect_port)}
        planned.append(_Planned("Prefect", command, f"{address}/api/health", address, logs / "prefect.log", settings))
    return planned, elsewhere


def free_address(option: str, port: int) -> str:
    """The address of a port that nothing listens on. Raises `BadInput` if something does."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise BadInput(
                f"port {port} is taken",
                where=f"127.0.0.1:{port}",
                mend=f"end what listens there, or take another port: {option} {port + 1}",
            )
    return f"http://127.0.0.1:{port}"


def _ready(planned: _Planned, server: Child, stop: Stop) -> bool:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and server.code is None and not stop.requested:
        if answers(planned.health):
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _ended(planned: _Planned, say: Callable[[str], None]) -> int:
    lines = planned.log.read_text(errors="replace").splitlines()[-10:]
    say(f"{planned.name} did not start or has ended; the end of {planned.log}:")
    for line in lines:
        say(f"  {line}")
    return 1


def _note(workspace: Path) -> Path:
    """The file in which `idiom ui` leaves the address of its Prefect server."""
    return workspace / ".prefect" / "ui.json"
