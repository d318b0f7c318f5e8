"""The local stack: PostgreSQL, S3, MLflow, Prefect and a worker as processes of this machine, without containers.

    idiom stack start                  # or `make stack`: starts all, waits until all answer, and returns
    eval "$(idiom stack env)"          # addresses and passwords for this shell
    idiom deploy && idiom retrain
    idiom stack status; idiom stack stop
    python -m infra.stack WORKSPACE    # the same in the foreground, for a service manager; SIGTERM ends all

One supervisor starts them, starts anew what dies, and ends all of them with itself, however it ends. It holds the lock
of the folder .stack/, so a stack is running exactly if the lock is held.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import BadInput, StageError
from components.processes.child import STOP_SECONDS, Child
from components.processes.signals import Stop
from components.storage.artifacts import publish_json, read_json
from components.storage.lock import locked, take
from infra import postgres
from infra.passwords import Passwords
from infra.services import PORTS, Service, client_environment, services

FOLDER = ".stack"
START_SECONDS = 300.0
_LOOK_SECONDS = 0.2
_LONGEST_PAUSE = 30.0
_STEADY_SECONDS = 60.0
"""A service that ran so long is started anew at once, when it dies."""


@dataclass
class _Running:
    """A service, and how it fares."""

    service: Service
    child: Child | None = None
    ready: bool = False
    restarts: int = 0
    started: float = 0.0
    tries: int = 0
    """Starts in a row after which it died soon."""
    not_before: float = 0.0


@dataclass
class Supervisor:
    """Keeps the services of a workspace running."""

    workspace: Path
    ports: dict[str, int]
    running: list[_Running] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    """What state.json holds."""

    def run(self) -> int:
        """Until SIGINT or SIGTERM; returns the exit code. Raises `BadInput` where the stack runs already."""
        stack = self.workspace / FOLDER
        busy = BadInput("the stack of this workspace runs already", where=str(stack), mend="idiom stack stop ends it")
        with locked(stack / "lock", busy, seconds=0.0), Stop().listening() as stop:
            passwords = Passwords.of(stack)
            postgres.create(stack, passwords.postgres)
            every = services(self.workspace, stack, passwords, self.ports)
            self.running = [_Running(each) for each in every]
            try:
                while not stop.requested:
                    for each in self.running:
                        self._look_after(each, stack)
                    self._tell(stack)
                    time.sleep(_LOOK_SECONDS)
            finally:
                for each in reversed(self.running):
                    if each.child is not None:
                        each.child.send(each.service.ends_by, group=False)
                        each.child.stop()
                (stack / "state.json").unlink(missing_ok=True)
        return 0

    def _look_after(self, each: _Running, stack: Path) -> None:
        """Start what may be started, note what is ready or has died."""
        now = time.monotonic()
        if each.child is not None and each.child.code is not None:
            each.child.stop()  # what is left of its group
            each.child, each.ready = None, False
            each.restarts += 1
            each.tries = 0 if now - each.started > _STEADY_SECONDS else each.tries + 1
            each.not_before = now + min(_LONGEST_PAUSE, 0.5 * 2.0**each.tries)
        if each.child is None:
            needed = [other for other in self.running if other.service.name in each.service.needs]
            # Others wait out a service that is away later on: only the first start needs the order.
            if now >= each.not_before and all(other.ready or other.restarts for other in needed):
                each.child, each.started = _started(each.service, self.workspace, stack), now
        elif not each.ready:
            each.ready = each.service.ready()

    def _tell(self, stack: Path) -> None:
        now = {
            "pid": os.getpid(),
            "ports": self.ports,
            "services": {
                each.service.name: {
                    "ready": each.ready,
                    "restarts": each.restarts,
                    "pid": each.child.pid if each.child else None,
                }
                for each in self.running
            },
        }
        if now != self.told:
            publish_json(stack / "state.json", now)
            self.told = now


def _started(service: Service, workspace: Path, stack: Path) -> Child:
    log = stack / "logs" / f"{service.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)
    with log.open("a") as stream:
        return Child(
            service.command,
            cwd=workspace,
            environment={**_without_addresses(), **service.environment},
            output=stream.fileno(),
            watched=service.ends_by,
            grace=STOP_SECONDS,
        )


def _without_addresses() -> dict[str, str]:
    """The environment without what names another store or server."""
    others = ("MLFLOW_", "PREFECT_", "AWS_")
    kept = ("PREFECT_SERVER_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY")
    return {name: value for name, value in os.environ.items() if not name.startswith(others) or name in kept}


def start(workspace: Path, ports: dict[str, int] | None = None, *, say: Callable[[str], object] = print) -> None:
    """Start the stack of a workspace in the background and wait until all of it answers.

    ports: of the services, where they are not the usual ones. Raises `BadInput` where it runs already, or a port is
    taken; `StageError` with the end of a log where a service does not come up.
    """
    from flows.servers import free_address

    stack = workspace / FOLDER
    if is_running(workspace):
        raise BadInput("the stack of this workspace runs already", where=str(stack), mend="idiom stack stop ends it")
    chosen = {**PORTS, **(ports or {})}
    for name, port in chosen.items():
        free_address(f"--{name}-port", port)
    postgres.programs()
    stack.mkdir(mode=0o700, exist_ok=True)
    given = [f"--{name}-port={port}" for name, port in chosen.items()]
    with (stack / "supervisor.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.stack", str(workspace), *given],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        state = status(workspace)
        if state and all(each["ready"] for each in state.values()):
            say(f"ready       {', '.join(state)}")
            return
        time.sleep(_LOOK_SECONDS)
    late = [name for name, each in status(workspace).items() if not each["ready"]]
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10 * STOP_SECONDS)
    logs = [stack / "logs" / f"{name}.log" for name in late] or [stack / "supervisor.log"]
    ends = "\n".join(
        line for log in logs if log.is_file() for line in log.read_text(errors="replace").splitlines()[-5:]
    )
    raise StageError("the stack did not come up", where=f"{', '.join(map(str, logs))}\n{ends}", mend="see those logs")


def stop(workspace: Path) -> bool:
    """End the stack and wait for it; whether there was one. What it holds stays in its folder."""
    stack = workspace / FOLDER
    if not is_running(workspace):
        return False
    os.kill(int(read_json(stack / "state.json")["pid"]), signal.SIGTERM)
    with locked(
        stack / "lock", StageError("the stack did not end", where=str(stack), mend="run it again"), seconds=150
    ):
        return True


def is_running(workspace: Path) -> bool:
    """Whether the stack of this workspace runs: its supervisor holds the lock."""
    stack = workspace / FOLDER
    if not (stack / "lock").exists():
        return False
    if (stream := take(stack / "lock")) is None:
        return True
    stream.close()
    return False


def status(workspace: Path) -> dict[str, dict[str, int | bool]]:
    """Service -> `ready`, `restarts`, `pid`; empty where no stack runs."""
    path = workspace / FOLDER / "state.json"
    return read_json(path)["services"] if is_running(workspace) and path.is_file() else {}


def environment(workspace: Path) -> dict[str, str]:
    """Addresses and passwords of the running stack for its clients. Raises `BadInput` where none runs."""
    stack = workspace / FOLDER
    if not status(workspace):
        raise BadInput("no stack runs in this workspace", where=str(stack), mend="idiom stack start")
    return client_environment(Passwords.of(stack), read_json(stack / "state.json")["ports"])


def main(arguments: list[str]) -> int:
    """Run the supervisor in the foreground."""
    folders = [each for each in arguments if not each.startswith("--")]
    ports = {}
    for each in arguments:
        if each.startswith("--"):
            name, _, port = each.removeprefix("--").partition("-port=")
            ports[name] = int(port)
    try:
        return Supervisor(Path(folders[0] if folders else ".").resolve(), {**PORTS, **ports}).run()
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
