"""Scheduled small retrainings on the local stack, with random kills: is anything lost, done twice, or stuck?

    python -m benchmarks.soak                # 50 nights of the demo shop at micro size: hours on two cores
    python -m benchmarks.soak --runs 3       # a look

Each night has a learning rate of its own, so that each has to end in one version of its own; what lies before the
training comes from DVC's cache. In most something is killed with SIGKILL at a random moment: the run with its stage,
the worker with all runs, MLflow, Prefect, PostgreSQL or S3. A night that did not complete is asked for again, as the
next schedule would, up to four times. Stages are forked from a process that has imported the libraries
(tests/warm_server.py), which are most of the CPU of a micro training.

Prints a line a night to stderr, and one JSON line in the end, also when it is ended early by SIGTERM or Ctrl-C: of the
nights that were over (`runs`, of `wanted`). `lost`: nights without a version that is READY; `duplicated`: versions
beyond one a night; `stuck`: runs that have not ended although nothing works on them; `rss_growth_mib`: growth of the
resident memory of Prefect's server and of the worker (the larger one), from the first to the last third of the nights
in which their processes stayed the same. Compared with nothing: the goals are zeros.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.machine import facts
from components.errors import Interrupted
from components.processes.signals import Stop
from infra import postgres
from infra.stack import FOLDER, environment, start, status, stop
from tests.warm_server import started
from tests.workspaces import REPOSITORY, command, free_port, make_workspace, set_params

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
KILLS = ("run", "run", "run", "mlflow", "s3", "postgres", "worker", "prefect")
"""What is killed; a run more often than the rest."""
KILL_SHARE = 0.75
TRIES = 4
SILENT_SECONDS = 60
HEARTBEAT_SECONDS = 30
_MOST_SECONDS = 1200
"""For one run, before it counts as stuck."""


class Night:
    """The stack of a workspace, and what a schedule does with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        given = environment(root)
        self.api, self.mlflow = given["PREFECT_API_URL"], given["MLFLOW_TRACKING_URI"]
        user, _, password = given["PREFECT_API_AUTH_STRING"].partition(":")
        self._prefect = (user, password)
        self._store = (given["MLFLOW_TRACKING_USERNAME"], given["MLFLOW_TRACKING_PASSWORD"])
        self.given = given

    def ask(self, method: str, url: str, auth: tuple[str, str], **options: Any) -> Any:
        """The answer; asked again for two minutes while a server is away."""
        until = time.monotonic() + 120
        while True:
            try:
                answer = httpx.request(method, url, auth=auth, timeout=60, **options)
                answer.raise_for_status()
                return answer.json()
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def prefect(self, method: str, path: str, **body: Any) -> Any:
        """Ask Prefect."""
        return self.ask(method, f"{self.api}{path}", self._prefect, json=body)

    def versions(self) -> list[dict[str, Any]]:
        """All versions in MLflow."""
        url = f"{self.mlflow}/api/2.0/mlflow/model-versions/search"
        found = self.ask("GET", url, self._store, params={"filter": "name = 'idiom'", "max_results": 1000})
        return list(found.get("model_versions", []))

    def deployment(self) -> str:
        """Id of the nightly retraining."""
        return str(self.prefect("GET", "/deployments/name/retrain/retrain-nightly")["id"])

    def schedule(self) -> str:
        """A run that is due now, as the scheduler makes one; its id."""
        return str(self.prefect("POST", f"/deployments/{self.deployment()}/create_flow_run")["id"])

    def state(self, run: str) -> str:
        return str(self.prefect("GET", f"/flow_runs/{run}")["state_type"])

    def kill(self, what: str) -> bool:
        """SIGKILL to a service, or to a run with the processes that it started; whether there was one."""
        if what != "run":
            pid = status(self.root).get(what, {}).get("pid")
            if pid is None:
                return False
            family = psutil.Process(int(pid)).children(recursive=True) if what == "worker" else []
            return sum(_killed(each) for each in [*(each.pid for each in family), int(pid)]) > 0
        pid = status(self.root).get("worker", {}).get("pid")
        children = psutil.Process(int(pid)).children(recursive=True) if pid else []
        return sum(_killed(each.pid) for each in children) > 0

    def memory(self) -> dict[str, tuple[int, float]]:
        """Service -> its process and its resident memory in MiB, of Prefect's server and the worker."""
        found = {}
        for name in ("prefect", "worker"):
            if pid := status(self.root).get(name, {}).get("pid"):
                found[name] = (int(pid), psutil.Process(int(pid)).memory_info().rss / 2**20)
        return found


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Run the nights; print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="nights")
    parser.add_argument("--seed", type=int, default=17, help="of the kills")
    parser.add_argument("--minutes", type=float, default=600, help="no further night begins after so many")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Stop().listening() as asked_to_stop,
        started(Path(folder) / "warm", REPOSITORY) as warm,
    ):
        os.environ.update(warm)
        root = make_workspace(Path(folder) / "workspace")
        _unscheduled(root)
        start(root, {name: free_port() for name in ("postgres", "s3", "mlflow", "prefect")}, say=lambda _: None)
        try:
            found = soak(root, arguments.runs, random.Random(arguments.seed), arguments.minutes, asked_to_stop)
        finally:
            stop(root)
            postgres.remove(root / FOLDER)
    print(json.dumps({"benchmark": "soak", **found, "seed": arguments.seed, **facts()}))


@dataclass
class Seen:
    """What was done in the nights that are over."""

    kills: dict[str, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Learning rate of each night."""
    memory: list[dict[str, tuple[int, float]]] = field(default_factory=list)


def soak(root: Path, nights: int, chance: random.Random, minutes: float, asked_to_stop: Stop) -> dict[str, Any]:
    """`nights` retrainings with kills, or as many as were over before a signal came; what came of them."""
    night, begun, seen = Night(root), time.monotonic(), Seen()
    done = command(root, "python", "-m", "flows.cli", "deploy", timeout=600, **night.given)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    _automations(root, night)
    try:
        with asked_to_stop.at_once():
            while len(seen.rates) < nights and time.monotonic() - begun < 60 * minutes:
                _night(root, night, chance, seen)
            _settled(night, seen.runs)
    except Interrupted:
        print(f"ended in night {len(seen.rates) + 1}, which does not count", file=sys.stderr, flush=True)
    return {
        "runs": len(seen.rates),
        "wanted": nights,
        **_counted(night, seen),
        "wall_seconds": round(time.monotonic() - begun),
    }


def _night(root: Path, night: Night, chance: random.Random, seen: Seen) -> None:
    """One retraining, tried again where it did not complete."""
    began, runs, kills = time.monotonic(), list[str](), dict[str, int]()
    rate = round(0.001 + 0.00001 * len(seen.rates), 5)
    set_params(root, {"train": {"recommender": {"lr": rate}}})
    for attempt in range(TRIES):
        runs.append(night.schedule())
        # After a kill the night is tried again in peace: how often a kill may come is not what is asked here.
        what = chance.choice(KILLS) if attempt == 0 and chance.random() < KILL_SHARE else ""
        state = _ended(night, runs[-1], what, chance.uniform(2, 40), kills)
        if state == "COMPLETED":
            break
    for name, count in kills.items():
        seen.kills[name] = seen.kills.get(name, 0) + count
    seen.runs += runs
    seen.rates.append(rate)
    seen.memory.append(night.memory())
    said = f"night {len(seen.rates)}: {state} after {len(runs)} runs and {time.monotonic() - began:.0f} s"
    print(f"{said}, killed: {', '.join(kills) or 'nothing'}", file=sys.stderr, flush=True)


def _counted(night: Night, seen: Seen) -> dict[str, Any]:
    """The figures of the nights that are over."""
    states = [night.state(run) for run in seen.runs]
    versions = [_rate_of(night, each) for each in night.versions() if each.get("status") == "READY"]
    return {
        "attempts": len(seen.runs),
        "asked_again": len(seen.runs) - len(seen.rates),
        "kills": seen.kills,
        "states": {state: states.count(state) for state in sorted(set(states))},
        "lost": len(set(seen.rates) - set(versions)),
        "duplicated": len(versions) - len(set(versions)),
        "stuck": sum(state not in ENDED for state in states),
        "rss_growth_mib": _growth(seen.memory),
    }


def _ended(night: Night, run: str, what: str, after: float, kills: dict[str, int]) -> str:
    """The state in which a run ended, with one kill `after` seconds from its start."""
    begun, until = 0.0, time.monotonic() + _MOST_SECONDS
    while time.monotonic() < until:
        state = night.state(run)
        if state in ENDED:
            return state
        if state == "RUNNING":
            begun = begun or time.monotonic()
            if what and time.monotonic() - begun > after and night.kill(what):
                kills[what] = kills.get(what, 0) + 1
                what = ""
        time.sleep(0.5)
    return "STUCK"


def _settled(night: Night, runs: list[str]) -> None:
    """Wait as long as the automation may take to find runs that died."""
    until = time.monotonic() + 3 * SILENT_SECONDS
    while time.monotonic() < until and any(night.state(run) not in ENDED for run in runs):
        time.sleep(1)


def _rate_of(night: Night, version: dict[str, Any]) -> float:
    """The learning rate with which a version was trained."""
    url = f"{night.mlflow}/api/2.0/mlflow/runs/get"
    found = night.ask("GET", url, night._store, params={"run_id": version["run_id"]})
    given = {each["key"]: each["value"] for each in found["run"]["data"]["params"]}
    return float(given["train.recommender.lr"])


def _growth(memory: list[dict[str, tuple[int, float]]]) -> float | None:
    """MiB that the processes grew by which lived longest; None where none lived through three nights."""
    grown = []
    for name in ("prefect", "worker"):
        by_process: dict[int, list[float]] = {}
        for each in memory:
            if name in each:
                by_process.setdefault(each[name][0], []).append(each[name][1])
        longest = max(by_process.values(), key=len, default=[])
        if len(longest) >= 3:
            third = len(longest) // 3
            grown.append(statistics.median(longest[-third:]) - statistics.median(longest[:third]))
    return round(max(grown), 1) if grown else None


def _unscheduled(root: Path) -> None:
    """The deployments without their schedules, and with heartbeats as often as Prefect allows."""
    path = root / "prefect.yaml"
    document = yaml.safe_load(path.read_text())
    for each in document["deployments"]:
        each.pop("schedules", None)
        each["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
    # A scoring after each new champion would have the GPU's slot in turn with the nights.
    document["deployments"] = [each for each in document["deployments"] if each["name"] == "retrain-nightly"]
    path.write_text(yaml.safe_dump(document))
    subprocess.run(
        ["dvc", "remote", "add", "--local", "--default", "stack", "s3://dvc/soak"],
        cwd=root,
        check=True,
        capture_output=True,
    )


def _automations(root: Path, night: Night) -> None:
    """The automation that finds runs that died, at a fraction of its usual silence."""
    code = (
        "from datetime import timedelta; from flows.automations import install; "
        f"install(silent=timedelta(seconds={SILENT_SECONDS}))"
    )
    done = command(root, "python", "-c", code, timeout=600, **night.given)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    main()
