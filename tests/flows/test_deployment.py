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
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_scheduled_run_is_created_and_executed(repository: Path, mini: Any, prefect_server: Any) -> None:
    """Prevents: a nightly training or scoring that never comes, and a deployment whose code the worker cannot import.

    There is nobody to score in this workspace: the flow's own words prove that it ran.
    """
    for name in ("flows", "components"):
        shutil.copytree(repository / name, mini.root / name, ignore=shutil.ignore_patterns("__pycache__"))
    document = yaml.safe_load((repository / "prefect.yaml").read_text())
    for deployment in document["deployments"]:
        deployment["schedules"] = [{"interval": 5, "slug": "soon"}]
    flows = [deployment["entrypoint"].rpartition(":")[2] for deployment in document["deployments"]]
    names = [deployment["name"] for deployment in document["deployments"]]
    assert flows == ["retrain", "score"] and len(set(names)) == 2
    (mini.root / "prefect.yaml").write_text(yaml.safe_dump(document))

    prefect("work-pool", "create", "idiom", "--type", "process", folder=mini.root, server=prefect_server)
    prefect("deploy", "--all", folder=mini.root, server=prefect_server)
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
            "deployments": {"name": {"any_": names}},
        }
        ended: dict[str, dict[str, Any]] = {}

        def have_ended() -> bool:
            for flow in flows:
                for run in prefect_server.post("/flow_runs/filter", **query, flows={"name": {"any_": [flow]}}):
                    ended[flow] = run
            return len(ended) == len(flows)

        prefect_server.wait_until(have_ended, seconds=600)
    finally:
        for flow, name in zip(flows, names, strict=True):
            prefect("deployment", "delete", f"{flow}/{name}", folder=mini.root, server=prefect_server)
        worker.terminate()
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()  # Prefect's worker sometimes waits for ever when the signal meets its next run (3.8.8)
    assert all(run["auto_scheduled"] for run in ended.values())
    assert ended["retrain"]["state_type"] == "COMPLETED", (mini.root / "worker.log").read_text()
    assert "there are no interactions yet" in ended["score"]["state"]["message"]
    assert mini.out("register").is_file()
