"""A real stack: PostgreSQL, S3, MLflow, Prefect and a worker, on a workspace with a micro training."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import postgres
from infra.passwords import Passwords
from infra.stack import FOLDER, environment, status
from tests.workspaces import REPOSITORY, command, free_port, make_workspace


@dataclass(frozen=True)
class Stack:
    """A stack that runs."""

    root: Path
    warm: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Addresses and passwords of its clients."""
        return environment(self.root)

    @property
    def passwords(self) -> Passwords:
        return Passwords.of(self.root / FOLDER)

    def idiom(self, *words: str) -> str:
        """What a command prints that has to succeed."""
        return self.program("python", "-m", "flows.cli", *words)

    def program(self, *words: str) -> str:
        done = command(self.root, *words, **{**self.warm, **self.environment})
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pid(self, service: str) -> int:
        return int(status(self.root)[service]["pid"])

    def prefect(self, method: str, path: str, **body: Any) -> Any:
        """What the Prefect server answers; asked again while it is away."""
        found = self.environment
        user, _, password = found["PREFECT_API_AUTH_STRING"].partition(":")
        until = time.monotonic() + 120
        while True:
            try:
                answer = httpx.request(
                    method, f"{found['PREFECT_API_URL']}{path}", json=body, auth=(user, password), timeout=60
                )
                answer.raise_for_status()
                return answer.json() if answer.content else None
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def run(self, deployment: str = "retrain/retrain-nightly", **parameters: Any) -> str:
        """Ask for a run of a deployment; returns its id."""
        found = self.prefect("GET", f"/deployments/name/{deployment}")
        made = self.prefect("POST", f"/deployments/{found['id']}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def wait(self, run: str, *, seconds: float = 1500, also: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """The run once it has ended."""
        until = time.monotonic() + seconds
        while True:
            found = self.prefect("GET", f"/flow_runs/{run}")
            if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return dict(found)
            assert time.monotonic() < until, f"{found['state_type']}\n{self.log('worker')}"
            also()
            time.sleep(0.3)

    def log(self, service: str) -> str:
        return (self.root / FOLDER / "logs" / f"{service}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, warm_server: dict[str, str]) -> Iterator[Stack]:
    """A stack of its own for the tests of a module; what stages import is imported already."""
    subprocess.run(["bash", str(REPOSITORY / "infra" / "stack.sh")], check=True)
    root = make_workspace(tmp_path_factory.mktemp("stack") / "workspace")
    ports = [f"--{name}-port={free_port()}" for name in ("postgres", "s3", "mlflow", "prefect")]
    # As a shell without a terminal starts a job in the background.
    ignoring = ("env", "--ignore-signal=INT")
    done = command(root, *ignoring, "python", "-m", "flows.cli", "stack", "start", *ports, **warm_server)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Stack(root, warm_server)
    finally:
        command(root, "python", "-m", "flows.cli", "stack", "stop", **warm_server)
        postgres.remove(root / FOLDER)
