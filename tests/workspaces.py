"""Real workspaces for tests: this checkout's tracked files in a folder of their own, with a micro training."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[1]

MICRO: dict[str, Any] = {
    "clean": {"sample_users": 120},
    "train": {
        "size": "d_model=32,layers=1,heads=2,d_ff=64",
        "vocabulary_size": 512,
        "rounds": 2,
        "generator": {"cold_start_steps": 1, "samples": 32},
        "recommender": {"epochs": 1, "valid_users": 20, "valid_beams": 4},
    },
    "index": {"candidates": 4, "groups": 2},
    "evaluate": {"ks": [5, 10], "beams": 10, "max_users": 60},
}
"""Settings with which all stages take seconds: the artifacts are real, the model is not good."""

PREFECT = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1800"}
"""A flow's own server may take minutes to start on a machine with other work."""

MADE_FROM = ("pyproject.toml", "constraints.txt", "infra/env.sh")
"""What the Makefile makes the environment from."""


def make_workspace(root: Path, overrides: dict[str, Any] | None = None) -> Path:
    """Copy what git knows (and what is new here and not ignored) to `root`, with the demo at micro size."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if name != "dvc.lock" and not name.startswith(("docs/", "tests/")) and (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name)
            # Older than any environment: make in here must not install this copy into the one that runs the tests.
            # From a checkout newer than its linked environment it did, and everybody imported a deleted folder.
            if name in MADE_FROM:
                os.utime(root / name, (0, 0))
    (root / ".venv").symlink_to(sys.prefix)
    set_params(root, MICRO if overrides is None else overrides)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def set_params(root: Path, overrides: dict[str, Any]) -> None:
    """Merge `overrides` into the workspace's params.yaml."""
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(_merged(yaml.safe_load(path.read_text()) or {}, overrides)))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _merged(base.get(key) or {}, value) for key, value in over.items() if isinstance(value, dict)}
    return {**base, **over, **nested}


def command(root: Path, *arguments: str, timeout: float = 1800, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in the workspace, as its user would; never raises on its exit code.

    timeout: seconds; a ceiling that only ends a failed test, as a machine with other work takes minutes to import.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_TRACKING"))}
    return subprocess.run(
        arguments,
        cwd=root,
        env={**clean, **PREFECT, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def stage(root: Path, name: str, **environment: Any) -> subprocess.CompletedProcess[str]:
    """Run one stage bare, as dvc.yaml does."""
    return command(root, "python", "-m", "components", name, **environment)


def stage_here(root: Path, name: str) -> tuple[int, str]:
    """The same in this process, which has imported all libraries: exit code and stderr. A traceback is raised here."""
    said = io.StringIO()
    with contextlib.chdir(root), contextlib.redirect_stderr(said):
        code = main([name])
    return code, said.getvalue()


def run_here(root: Path, *names: str) -> None:
    """Run stages that have to succeed in this process, for tests of what comes after them."""
    for name in names:
        code, said = stage_here(root, name)
        assert code == 0, said


def lock_outs(root: Path) -> dict[str, str]:
    """Path -> hash of every output in dvc.lock."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for entry in lock["stages"].values() for out in entry["outs"]}


@contextmanager
def disk(folder: Path, kibibytes: int) -> Iterator[None]:
    """A file system of that size at `folder`; skips the test where mounting is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs Linux and its administrator")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, request: dict[str, Any], *, seconds: float = 120) -> Any:
    """POST to /invocations of a model server, waiting until it has come up."""
    url, body = f"http://127.0.0.1:{port}/invocations", json.dumps(request).encode()
    call = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(call, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
