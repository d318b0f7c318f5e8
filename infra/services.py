"""The services of the local stack: what starts each, what it is given, and how it says that it is ready.

PostgreSQL holds what MLflow and Prefect know, S3 their artifacts and DVC's data; a worker runs the deployments of
prefect.yaml. All listen on 127.0.0.1. Passwords are handed over in the environment, or in files of mode 600.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.deploy import POOL
from flows.environment import search_path
from flows.servers import answers
from infra import postgres
from infra.passwords import Passwords, write_secret

_DATABASES = ("mlflow", "mlflow_auth", "prefect")
BUCKETS = ("dvc", "mlflow")
_ADMIN = "idiom"
_ACCESS_KEY = "idiom:stack"
PORTS = {"postgres": 5433, "s3": 9000, "mlflow": 5000, "prefect": 4200}


@dataclass(frozen=True)
class Service:
    """A program of the stack."""

    name: str
    command: list[str]
    environment: dict[str, str]
    """Beside the one of the supervisor."""
    ready: Callable[[], bool]
    """Whether it answers; makes what others expect of it (databases, buckets)."""
    needs: tuple[str, ...] = ()
    """What has to be ready before it is started."""
    ends_by: signal.Signals = field(default=signal.SIGTERM)


def services(workspace: Path, stack: Path, passwords: Passwords, ports: dict[str, int]) -> list[Service]:
    """All of them, each after those that it needs. Writes MLflow's configuration, which holds a password."""
    client = client_environment(passwords, ports)
    return [
        _postgres(stack, passwords, ports),
        _s3(stack, passwords, ports),
        _mlflow(stack, passwords, ports, client),
        _prefect(stack, passwords, ports),
        _worker(workspace, stack, client),
    ]


def client_environment(passwords: Passwords, ports: dict[str, int]) -> dict[str, str]:
    """The environment of a program that uses the stack."""
    return {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "MLFLOW_TRACKING_USERNAME": _ADMIN,
        "MLFLOW_TRACKING_PASSWORD": passwords.mlflow,
        "PREFECT_API_URL": f"http://127.0.0.1:{ports['prefect']}/api",
        "PREFECT_API_AUTH_STRING": f"{_ADMIN}:{passwords.prefect}",
        **_s3_keys(passwords, ports),
    }


def _s3_keys(passwords: Passwords, ports: dict[str, int]) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": passwords.s3,
        # Swift's s3api knows no checksums in trailers, which Amazon's clients send by default.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def _postgres(stack: Path, passwords: Passwords, ports: dict[str, int]) -> Service:
    port = ports["postgres"]
    return Service(
        "postgres",
        postgres.command(stack, port),
        {},
        lambda: postgres.make_databases(port, passwords.postgres, _DATABASES),
        ends_by=signal.SIGINT,  # SIGTERM would wait for its clients
    )


def _s3(stack: Path, passwords: Passwords, ports: dict[str, int]) -> Service:
    def ready() -> bool:
        return answers(f"http://127.0.0.1:{ports['s3']}/healthcheck") and make_buckets(_s3_keys(passwords, ports))

    folder = stack / "s3"
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"IDIOM_S3_ACCESS_KEY": _ACCESS_KEY, "IDIOM_S3_SECRET_KEY": passwords.s3}
    return Service("s3", [sys.executable, "-m", "infra.s3", str(folder), str(ports["s3"])], keys, ready)


def make_buckets(keys: Mapping[str, str]) -> bool:
    """Make the buckets that are not there, with Amazon's environment variables; whether the store took it."""
    import botocore.session
    from botocore.exceptions import BotoCoreError, ClientError

    store = botocore.session.Session().create_client(
        "s3",
        endpoint_url=keys["AWS_ENDPOINT_URL"],
        region_name=keys["AWS_DEFAULT_REGION"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        known = {each["Name"] for each in store.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in known:
                store.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError):
        return False
    return True


def _mlflow(stack: Path, passwords: Passwords, ports: dict[str, int], client: dict[str, str]) -> Service:
    address = f"http://127.0.0.1:{ports['mlflow']}"
    store = f"postgresql://{postgres.USER}:{passwords.postgres}@127.0.0.1:{ports['postgres']}"
    configuration = stack / "mlflow.ini"
    write_secret(
        configuration,
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {store}/mlflow_auth\nadmin_username = {_ADMIN}\n"
        # Its hash of a password takes a tenth of a second, at each request.
        "auth_cache_ttl_seconds = 60\n",
    )
    settings = {
        "MLFLOW_BACKEND_STORE_URI": f"{store}/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
        "MLFLOW_AUTH_CONFIG_PATH": str(configuration),
        "MLFLOW_AUTH_ADMIN_USERNAME": _ADMIN,
        "MLFLOW_AUTH_ADMIN_PASSWORD": passwords.mlflow,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": passwords.mlflow_forms,
        "MLFLOW_S3_ENDPOINT_URL": client["AWS_ENDPOINT_URL"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **_s3_keys(passwords, ports),
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(ports["mlflow"])]
    return Service("mlflow", command, settings, lambda: answers(f"{address}/health"), needs=("postgres", "s3"))


def _prefect(stack: Path, passwords: Passwords, ports: dict[str, int]) -> Service:
    address = f"http://127.0.0.1:{ports['prefect']}"
    database = f"{postgres.USER}:{passwords.postgres}@127.0.0.1:{ports['postgres']}/prefect"
    settings = {
        "PREFECT_HOME": str(stack / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}",
        "PREFECT_SERVER_API_AUTH_STRING": f"{_ADMIN}:{passwords.prefect}",
        # Who holds a slot of `concurrency_limit`; in memory a restart would forget it, and Prefect end the run.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Its pages ask the port of the settings, whatever port the command names.
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(ports["prefect"]),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    command += ["--port", str(ports["prefect"])]
    return Service("prefect", command, settings, lambda: answers(f"{address}/api/health"), needs=("postgres",))


def _worker(workspace: Path, stack: Path, client: dict[str, str]) -> Service:
    path = os.pathsep.join(filter(None, [str(workspace), os.environ.get("PYTHONPATH")]))
    settings = {**client, "PREFECT_HOME": str(stack / "prefect"), "PATH": search_path(), "PYTHONPATH": path}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    command += ["--name", f"stack-{os.getpid()}"]
    return Service("worker", command, settings, lambda: _online(client), needs=("mlflow", "prefect"))


def _online(client: dict[str, str]) -> bool:
    """Whether Prefect hears a worker of the pool."""
    token = base64.b64encode(client["PREFECT_API_AUTH_STRING"].encode()).decode()
    asked = urllib.request.Request(
        f"{client['PREFECT_API_URL']}/work_pools/{POOL}/workers/filter",
        b"{}",
        {"Content-Type": "application/json", "Authorization": f"Basic {token}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return any(each["status"] == "ONLINE" for each in json.load(answer))
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


if __name__ == "__main__":
    # python -m infra.services buckets: once, where the store is a container (compose.yaml).
    sys.exit(0 if sys.argv[1:] == ["buckets"] and make_buckets(os.environ) else 1)
