"""prefect.yaml on a real server with a real worker: a run that the *scheduler* creates is executed.

With sqlalchemy 2.1 ad-hoc flows pass while the scheduler dies silently, and no client sees an error: so nothing here
asks for a run, it has to come by itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.server, pytest.mark.slow]


def prefect(*arguments: str, folder: Path, server: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=folder,
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_scheduled_run_is_created_and_executed(repository: Path, mini: Any, prefect_server: Any) -> None:
    """Prevents: a nightly training that never comes, and a deployment whose code the worker cannot import."""
    for name in ("flows", "components"):
        shutil.copytree(repository / name, mini.root / name, ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((repository / "prefect.yaml").read_text())
    (deployment,) = document["deployments"]
    deployment["schedules"] = [{"interval": 5, "slug": "soon"}]
    (mini.root / "prefect.yaml").write_text(yaml.safe_dump(document))

    prefect("work-pool", "create", "idiom", "--type", "process", folder=mini.root, server=prefect_server)
    prefect("deploy", "--all", folder=mini.root, server=prefect_server)
    deployed = f"retrain/{deployment['name']}"
    worker = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "idiom", "--limit", "1"],
        cwd="/",  # the code must come from the deployment's own working directory
        env=prefect_server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=(mini.root / "worker.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        query = {
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
            "deployments": {"name": {"any_": [deployment["name"]]}},
        }
        ended: list[dict[str, Any]] = []

        def has_ended() -> bool:
            ended[:] = prefect_server.post("/flow_runs/filter", **query)
            return bool(ended)

        prefect_server.wait_until(has_ended, seconds=90)
    finally:
        prefect("deployment", "delete", deployed, folder=mini.root, server=prefect_server)
        worker.terminate()
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()  # Prefect's worker sometimes waits for ever when the signal meets its next run (3.8.8)
    assert ended[0]["auto_scheduled"] is True
    assert ended[0]["state_type"] == "COMPLETED", (mini.root / "worker.log").read_text()
    assert mini.out("register").is_file()
