"""A workspace with seven stages as tiny scripts: what the flow does with a stage can be tried in a second."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.environment import search_path

STAGES = ("ingest", "validate", "clean", "train", "index", "evaluate", "register")

# What each stage runs: knobs/STAGE.json says how it behaves.
SCRIPT = """
import json, os, pathlib, signal, sys, time
name, source, out = sys.argv[1:]
knobs = json.loads(pathlib.Path(f"knobs/{name}.json").read_text())
progress = os.environ.get("IDIOM_PROGRESS_FILE")
if progress and knobs.get("progress"):
    path = pathlib.Path(progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        for event in knobs["progress"]:
            stream.write(json.dumps(event) + "\\n")
            stream.flush()
            time.sleep(knobs.get("pause", 0))
def stop(number, frame):
    pathlib.Path(f"{name}.checkpoint").write_text("saved")
    print(f"{name}: stopped; the checkpoint is saved\\n  where: training\\n  mend:  run it again", file=sys.stderr)
    sys.exit(130)
if knobs.get("sleep"):
    signal.signal(signal.SIGINT, stop)
    pathlib.Path(f"{name}.started").write_text(str(os.getpid()))
    time.sleep(knobs["sleep"])
if knobs.get("kill"):
    marker = pathlib.Path(f"{name}.killed")
    if not marker.exists():
        marker.write_text("once")
        os.kill(os.getpid(), knobs["kill"])
if knobs.get("exit"):
    error_file = os.environ.get("IDIOM_ERROR_FILE")
    if error_file and not knobs.get("aloud"):
        facts = {"stage": name, "what": knobs["what"], "where": "there", "mend": "this way", "exit_code": knobs["exit"]}
        pathlib.Path(error_file).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(error_file).write_text(json.dumps(facts))
        sys.exit(knobs["exit"])
    print(f"{name}: {knobs['what']}\\n  where: there\\n  mend:  this way", file=sys.stderr)
    sys.exit(knobs["exit"])
path = pathlib.Path(out)
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(name + " of " + pathlib.Path(source).read_text())
"""


class MiniWorkspace:
    """Seven stages, each copying what the one before wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def make(cls, root: Path) -> MiniWorkspace:
        (root / ".dvc").mkdir(parents=True)
        (root / ".dvc" / "config").write_text(
            "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
        )
        (root / "params.yaml").write_text("dataset: mini\n")
        (root / "stage.py").write_text(SCRIPT)
        (root / "raw.txt").write_text("raw")
        (root / "knobs").mkdir()
        stages, source = {}, "raw.txt"
        for name in STAGES:
            out = f"artifacts/mini/{name}/out.txt"
            stages[name] = {
                "cmd": f"python stage.py {name} {source} {out}",
                "deps": [source, f"knobs/{name}.json"],
                "outs": [out],
            }
            (root / "knobs" / f"{name}.json").write_text("{}")
            source = out
        (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        return cls(root)

    def behave(self, stage: str, **knobs: Any) -> None:
        """Say how a stage behaves from now on: exit=, what=, aloud=True, sleep=, kill=, progress=[events]."""
        (self.root / "knobs" / f"{stage}.json").write_text(json.dumps(knobs))

    def add_catalogues(self, *names: str) -> None:
        """Further catalogues, whose `ingest-of` stages `train` reads from; `behave("ingest-of-NAME", ...)`."""
        (self.root / "params.yaml").write_text(
            json.dumps({"dataset": "mini", "catalogues": {name: {"ingest": {"path": "raw.txt"}} for name in names}})
        )
        graph = json.loads((self.root / "dvc.yaml").read_text())
        knobs, out = "knobs/ingest-of-${key}.json", "artifacts/mini/ingest-of-${key}/out.txt"
        graph["stages"]["ingest-of"] = {
            "foreach": "${catalogues}",
            "do": {
                "cmd": f"python stage.py ingest-of-${{key}} ${{item.ingest.path}} {out}",
                "deps": ["${item.ingest.path}", knobs],
                "outs": [out],
            },
        }
        graph["stages"]["train"]["deps"] += [out.replace("${key}", name) for name in names]
        (self.root / "dvc.yaml").write_text(json.dumps(graph))
        for name in names:
            self.behave(f"ingest-of-{name}")

    def warn(self) -> None:
        """Reports of `ingest`, `validate` and `clean` with something to say, beside what the stages write."""
        aside = "2 of 320 records of the interactions are set aside: 2 have no id (row 3, row 4)."
        tied = "few_ties_in_time: Few users have ties. Observed 0.7, at most 0.5. Mend: bring times."
        late = "3 held-out interactions are with items outside the training core and are set aside."
        reports = {
            "ingest/report.json": {"in_words": [aside]},
            "validate/verdict.json": {"in_words": [tied]},
            "clean/report.json": {"in_words": [late]},
        }
        for name, content in reports.items():
            path = self.root / "artifacts" / "mini" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))

    def out(self, stage: str) -> Path:
        return self.root / "artifacts" / "mini" / stage / "out.txt"


@pytest.fixture
def mini(tmp_path: Path) -> MiniWorkspace:
    """A fresh mini workspace."""
    return MiniWorkspace.make(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def programs_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc` and `python` are those of the Python that runs the tests, whether the environment is active or not."""
    monkeypatch.setenv("PATH", search_path())


CLIENT = httpx.Client(timeout=120, verify=False)
"""One for all questions: each client of its own would read the system's certificates first, 30 ms of CPU."""


@dataclass(frozen=True)
class PrefectServer:
    """A real Prefect server with a store of its own."""

    api: str
    home: Path

    def environment(self) -> dict[str, str]:
        """Environment of a program that talks to it."""
        return {**os.environ, "PREFECT_API_URL": self.api, "PREFECT_HOME": str(self.home)}

    def post(self, path: str, **body: Any) -> Any:
        """What the server answers: the test asks it, not the process that ran the flow."""
        response = CLIENT.post(f"{self.api}{path}", json=body)
        response.raise_for_status()
        return response.json()

    def get(self, path: str) -> Any:
        response = CLIENT.get(f"{self.api}{path}")
        response.raise_for_status()
        return response.json()

    def delete(self, path: str) -> None:
        """Remove something; a server whose database is busy says 503, and is asked again."""
        self.wait_until(lambda: CLIENT.delete(f"{self.api}{path}").status_code in (204, 404), seconds=60)

    @staticmethod
    def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
        """Wait for `condition`; fails after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not so after {seconds:.0f} s"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One for the whole session: it takes 6 to 10 s to start."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = PrefectServer(f"http://127.0.0.1:{port}/api", home)
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            env={**os.environ, "PREFECT_HOME": str(home)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            server.wait_until(lambda: healthy(server.api) or process.poll() is not None, seconds=900)
            assert process.poll() is None, (home / "server.log").read_text()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def healthy(api: str) -> bool:
    """Whether the server answers."""
    try:
        return CLIENT.get(f"{api}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def deployed(repository: Path, mini: Any, prefect_server: Any) -> Iterator[Any]:
    """A workspace whose deployments `idiom deploy` set up, with schedules of twenty seconds; and a worker."""
    for name in ("flows", "components"):
        shutil.copytree(repository / name, mini.root / name, ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((repository / "prefect.yaml").read_text())
    for deployment in document["deployments"]:
        for number, schedule in enumerate(deployment.get("schedules", [])):
            del schedule["cron"], schedule["timezone"]
            schedule["interval"] = 3600 if number else 20  # further ones are planned, and do not run here
    (mini.root / "prefect.yaml").write_text(yaml.safe_dump(document))
    idiom_deploy(mini.root, prefect_server)
    worker = start_worker(mini.root, prefect_server)
    try:
        yield mini
    finally:
        for each in prefect_server.post("/deployments/filter"):
            prefect_server.delete(f"/deployments/{each['id']}")
        for each in prefect_server.post("/automations/filter"):
            prefect_server.delete(f"/automations/{each['id']}")
        worker.terminate()
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()  # Prefect's worker sometimes waits for ever when the signal meets its next run (3.8.8)


def start_worker(folder: Path, server: Any) -> subprocess.Popen[bytes]:
    """A worker of the pool `idiom`; what it prints goes to worker.log there."""
    # A shell without a terminal has its background jobs ignore SIGINT, which a worker hands on to its runs.
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "prefect", "worker", "start", "--pool", "idiom"],
        cwd="/",  # the code must come from the deployment's own working directory
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=(folder / "worker.log").open("a"),
        stderr=subprocess.STDOUT,
    )


def idiom_deploy(folder: Path, server: Any) -> str:
    """What `idiom deploy` prints; it has to succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "deploy"],
        cwd=folder,
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
