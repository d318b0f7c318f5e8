"""The local stack, for real: a whole retraining by a deployment, its data in S3, its metadata in PostgreSQL, no secret
anywhere that it does not belong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from email.utils import formatdate
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import psutil
import psycopg2
import pytest

from components.errors import BadInput
from components.registry.names import logged_name
from components.storage.layout import Layout
from infra import postgres
from infra.passwords import Passwords
from infra.stack import FOLDER, environment, is_running, status
from tests.flows.conftest import PrefectServer
from tests.workspaces import command, lock_outs, set_params

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def retrained(stack: Any) -> Any:
    """The stack after `idiom deploy` and a run of the deployment, which a worker of the stack executed."""
    stack.program("dvc", "remote", "add", "--local", "--default", "stack", "s3://dvc/idiom")
    stack.idiom("deploy")
    ended = stack.wait(stack.run())
    assert ended["state_type"] == "COMPLETED", stack.log("worker")
    return stack


def rows(stack: Any, database: str, query: str) -> list[tuple[Any, ...]]:
    """What PostgreSQL holds."""
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=json.loads((stack.root / FOLDER / "state.json").read_text())["ports"]["postgres"],
        user=postgres.USER,
        password=stack.passwords.postgres,
        dbname=database,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def keys(stack: Any, bucket: str) -> list[str]:
    """Names of the objects in a bucket."""
    given = stack.environment
    store = botocore.session.Session().create_client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    return [each["Key"] for each in store.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_new_champion_starts_a_scoring(retrained: Any) -> None:
    """Prevents: a promotion after which the shop is served yesterday's recommendations."""
    (score,) = (each for each in retrained.prefect("POST", "/deployments/filter") if each["name"] == "score-daily")

    def started() -> list[dict[str, Any]]:
        runs = retrained.prefect("POST", "/flow_runs/filter", deployments={"id": {"any_": [score["id"]]}})
        return [each for each in runs if not each["auto_scheduled"]]

    PrefectServer.wait_until(lambda: bool(started()), seconds=120)
    (run,) = started()
    assert retrained.wait(run["id"])["state_type"] == "COMPLETED", retrained.log("worker")


def test_a_retraining_lies_where_it_should(retrained: Any) -> None:
    """Prevents: a stack on which the pieces run and do not meet: artifacts on a local disk, metadata in SQLite."""
    assert not (retrained.root / "mlflow.db").exists() and not list(retrained.root.glob(".prefect/*.db"))
    query = "SELECT name, version, alias FROM registered_model_aliases JOIN model_versions USING (name, version)"
    assert rows(retrained, "mlflow", query) == [("idiom", 1, "champion")]
    assert rows(retrained, "prefect", "SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'") > [(0,)]
    assert any(key.endswith("manifest.json") for key in keys(retrained, "mlflow"))
    before = lock_outs(retrained.root)
    assert len(keys(retrained, "dvc")) > len(before)
    for path in (retrained.root / "artifacts", retrained.root / ".dvc" / "cache"):
        shutil.rmtree(path)
    retrained.program("dvc", "pull", "--quiet")
    assert "Data and pipelines are up to date" in retrained.program("dvc", "status")


def test_nobody_gets_in_without_a_password(retrained: Any) -> None:
    """Prevents: a store or a scheduler that anybody of the machine, or of the network, may write to."""
    given = retrained.environment
    mlflow, api, store = given["MLFLOW_TRACKING_URI"], given["PREFECT_API_URL"], given["AWS_ENDPOINT_URL"]
    assert httpx.get(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1").status_code == 401
    assert httpx.post(f"{api}/flow_runs/filter", json={}).status_code == 401
    signed = {"Authorization": "AWS idiom:stack:wrong", "Date": formatdate(usegmt=True)}
    assert httpx.get(f"{store}/dvc", headers=signed).status_code == 403
    assert httpx.get(f"{store}/v1/AUTH_idiom/dvc").status_code == 401  # Swift's own way to the same objects
    with pytest.raises(psycopg2.OperationalError, match="password"):
        ports = json.loads((retrained.root / FOLDER / "state.json").read_text())["ports"]
        psycopg2.connect(host="127.0.0.1", port=ports["postgres"], user=postgres.USER, password="x", dbname="mlflow")
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True)
    if listening.returncode == 0:
        ours = [line.split()[3] for line in listening.stdout.splitlines()]
        mine = {str(port) for port in ports.values()}
        assert {address.rpartition(":")[0] for address in ours if address.rpartition(":")[2] in mine} == {"127.0.0.1"}


def test_secrets_are_nowhere_else(retrained: Any) -> None:
    """Prevents: passwords in params, logs, MLflow, Prefect, a command line, or a file that others can read."""
    folder = retrained.root / FOLDER
    secrets = retrained.passwords.all()
    assert len(set(secrets)) == 5 and all(len(each) >= 40 for each in secrets)
    kept = {folder / "passwords.json", folder / "mlflow.ini", folder / "s3" / "proxy-server.conf"}
    patterns = [word for each in secrets for word in ("-e", each)]
    found = subprocess.run(["grep", "-rlF", "--exclude-dir=.venv", *patterns, str(retrained.root)],
                           capture_output=True, text=True)  # fmt: skip
    assert {Path(line) for line in found.stdout.splitlines()} == kept
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    port = json.loads((folder / "state.json").read_text())["ports"]["postgres"]
    for database in ("mlflow", "mlflow_auth", "prefect"):
        dumped = subprocess.run(
            [str(postgres.programs() / "pg_dump"), "-h", "127.0.0.1", "-p", str(port), "-U", postgres.USER, database],
            env={**os.environ, "PGPASSWORD": secrets[0]},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert len(dumped) > 10_000
        for secret in secrets:
            assert secret not in dumped and secret not in arguments


def trains(stack: Any, **settings: Any) -> str:
    """A run of a training with these settings, in the middle of it."""
    set_params(stack.root, {"train": settings})
    progress = stack.root / "work" / "progress" / "train.jsonl"
    progress.unlink(missing_ok=True)
    run = str(stack.run())
    PrefectServer.wait_until(lambda: progress.is_file() and "recommender/loss" in progress.read_text(), seconds=400)
    return run


def test_a_cancelled_run_stops(retrained: Any) -> None:
    """Prevents: a run that somebody cancelled and that trains on, as the stack was started in the background by a shell
    without a terminal: such a job ignores SIGINT, its programs inherit that, and a run is told to stop by SIGINT."""
    for service in status(retrained.root):
        lines = Path(f"/proc/{retrained.pid(service)}/status").read_text().splitlines()
        (ignored,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
        assert not ignored & 1 << signal.SIGINT - 1, service
    run = trains(retrained, rounds=5)
    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    retrained.prefect("POST", f"/flow_runs/{run}/set_state", state=cancelling)
    assert retrained.wait(run, seconds=300)["state_type"] == "CANCELLED", retrained.log("worker")
    found = [each.info for each in psutil.process_iter(["cmdline", "cwd"])]
    here = [each["cmdline"] for each in found if each["cwd"] == str(retrained.root)]
    assert [words for words in here if words[-2:] == ["components", "train"]] == []


def test_outages_in_a_training_lose_nothing(retrained: Any) -> None:
    """Prevents: losses with a hole, a training that ends with MLflow, a run that is Running for ever, where PostgreSQL,
    MLflow and Prefect die in the middle of it. They come back when the supervisor has started them anew. And a run that
    Prefect ends some minutes later, as it has forgotten who holds the slot of `concurrency_limit`.
    """
    run = trains(retrained, rounds=6)
    for service in ("postgres", "mlflow", "prefect"):
        os.kill(retrained.pid(service), signal.SIGKILL)
    leases = (retrained.root / FOLDER / "prefect" / "concurrency_leases").glob("*-*.json")
    (held,) = [lease.stem for lease in leases]
    retrained.prefect("POST", f"/v2/concurrency_limits/leases/{held}/renew", lease_duration=300)
    ended = retrained.wait(run)
    assert ended["state_type"] == "COMPLETED", retrained.log("worker")
    assert all(status(retrained.root)[name]["restarts"] for name in ("postgres", "mlflow", "prefect"))
    versions = rows(retrained, "mlflow", "SELECT version, run_id, status FROM model_versions ORDER BY version")
    assert [(version, state) for version, _, state in versions] == [(1, "READY"), (2, "READY")]
    sent = rows(retrained, "mlflow", f"SELECT key, step FROM metrics WHERE run_uuid = '{versions[1][1]}'")
    log = Layout(retrained.root, "demo").pair / "training_log.jsonl"
    expected = {
        (name, row["steps"])
        for row in map(json.loads, log.read_text().splitlines())
        if row["event"] == "epoch"
        for key in set(row) - {"event", "phase", "steps"}
        if (name := logged_name(f"{row['phase']}/{key}"))
    }
    assert len(expected) > 50 and expected <= set(sent)
    losses = [each for each in sent if each in expected]
    assert len(losses) == len(set(losses)), "a figure twice"
    found = rows(retrained, "mlflow", f"SELECT status FROM runs WHERE run_uuid = '{versions[1][1]}'")
    assert found == [("FINISHED",)]


def test_what_dies_is_started_anew(retrained: Any) -> None:
    """Prevents: a stack that lies half dead until a person looks."""
    before = status(retrained.root)["s3"]["restarts"]
    os.kill(retrained.pid("s3"), signal.SIGKILL)

    def back() -> bool:
        found = status(retrained.root)["s3"]
        return found["restarts"] > before and bool(found["ready"])

    PrefectServer.wait_until(back, seconds=120)
    assert keys(retrained, "dvc")
    said = command(retrained.root, "python", "-m", "flows.cli", "stack", "status")
    assert said.returncode == 0 and "s3        ready, restarts: " in said.stdout
    twice = command(retrained.root, "python", "-m", "flows.cli", "stack", "start")
    assert twice.returncode == 2 and "the stack of this workspace runs already" in twice.stderr


def test_passwords_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """Prevents: a copy of the folder with passwords for everybody, believed as before."""
    made = Passwords.of(tmp_path)
    assert Passwords.of(tmp_path) == made and made != Passwords()
    (tmp_path / "passwords.json").chmod(0o644)
    with pytest.raises(BadInput, match="others can read the passwords"):
        Passwords.of(tmp_path)


def test_no_stack_is_said(tmp_path: Path) -> None:
    """Prevents: addresses of a stack that is stopped."""
    with pytest.raises(BadInput, match="no stack runs"):
        environment(tmp_path)
    assert not is_running(tmp_path) and status(tmp_path) == {}
