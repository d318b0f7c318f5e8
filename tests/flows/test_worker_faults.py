"""A worker that dies or is ended in the middle of a training, on a real server: the state tells the truth, the slot of
the GPU is given back, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows.automations import SILENT, install
from tests.flows.conftest import idiom_deploy, start_worker

pytestmark = [pytest.mark.server, pytest.mark.slow]

QUICK = timedelta(seconds=45)
"""Silence that counts: one heartbeat, of 30 s at least, and a half."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture
def unscheduled(repository: Path, mini: Any, prefect_server: Any) -> Iterator[Any]:
    """A workspace with the deployments of prefect.yaml, of which none runs by itself."""
    (mini.root / "flows").symlink_to(repository / "flows")
    (mini.root / "components").symlink_to(repository / "components")
    document = yaml.safe_load((repository / "prefect.yaml").read_text())
    for deployment in document["deployments"]:
        deployment.pop("schedules", None)
        deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    (mini.root / "prefect.yaml").write_text(yaml.safe_dump(document))
    idiom_deploy(mini.root, prefect_server)
    yield mini
    for each in prefect_server.post("/deployments/filter"):
        prefect_server.delete(f"/deployments/{each['id']}")
    for each in prefect_server.post("/automations/filter"):
        prefect_server.delete(f"/automations/{each['id']}")


@contextmanager
def working(folder: Path, server: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, which is killed with what it started."""
    worker = start_worker(folder, server)
    try:
        yield worker
    finally:
        kill_all(worker)


def kill_all(worker: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the worker and the flow runs that it started, as when a machine runs out of memory; what those started
    ends by itself (components/processes/watcher.py)."""
    if worker.poll() is None:
        family = [each for each in psutil.Process(worker.pid).children(recursive=True) if is_of_prefect(each)]
        for each in (*family, psutil.Process(worker.pid)):
            with_id(each.pid, signal.SIGKILL)
    worker.wait()


def is_of_prefect(process: psutil.Process) -> bool:
    try:
        return "prefect" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def with_id(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def automations(server: Any, silent: timedelta) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: server.api, PREFECT_HOME: server.home}):
        install(silent=silent)


def ask(server: Any) -> str:
    found = server.get("/deployments/name/retrain/retrain-nightly")
    return str(server.post(f"/deployments/{found['id']}/create_flow_run")["id"])


def end_of(server: Any, run: str, folder: Path, *, seconds: float = 240) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while (found := server.get(f"/flow_runs/{run}"))["state_type"] not in ENDED:
        assert time.monotonic() < until, (found["state"], (folder / "worker.log").read_text()[-4000:])
        time.sleep(0.2)
    return dict(found)


def test_a_killed_worker_is_crashed_and_the_next_run_goes_on(unscheduled: Any, prefect_server: Any) -> None:
    """Prevents: a run that is Running for ever and holds the GPU's slot, so that no training comes any more."""
    root, started = unscheduled.root, unscheduled.root / "train.started"
    unscheduled.behave("train", sleep=600)
    automations(prefect_server, QUICK)
    with working(root, prefect_server) as worker:
        run = ask(prefect_server)
        prefect_server.wait_until(started.exists, seconds=240)
        stage = int(started.read_text())
        kill_all(worker)
        prefect_server.wait_until(lambda: not psutil.pid_exists(stage), seconds=60)
        assert (root / "train.checkpoint").read_text() == "saved"
    found = end_of(prefect_server, run, root)
    assert found["state_type"] == "CRASHED" and "nothing was heard of it" in found["state"]["message"]
    automations(prefect_server, SILENT)
    unscheduled.behave("train")
    with working(root, prefect_server):
        assert end_of(prefect_server, ask(prefect_server), root)["state_type"] == "COMPLETED"
    assert unscheduled.out("register").is_file()


def test_sigterm_to_the_worker_saves_the_checkpoint(unscheduled: Any, prefect_server: Any) -> None:
    """Prevents: a machine that is shut down for an update, and a training that starts at its beginning after it."""
    root, started = unscheduled.root, unscheduled.root / "train.started"
    unscheduled.behave("train", sleep=600)
    automations(prefect_server, QUICK)
    with working(root, prefect_server) as worker:
        run = ask(prefect_server)
        prefect_server.wait_until(started.exists, seconds=240)
        worker.terminate()
        prefect_server.wait_until((root / "train.checkpoint").exists, seconds=240)
        found = end_of(prefect_server, run, root)
    # Prefect's worker gives a run 30 s to say how it ended; where that is too short, the automation tells the truth.
    assert found["state_type"] in ("CANCELLED", "CRASHED")
