"""The automations on a real server: a run that goes silent is Crashed, and one that fails is told to a webhook."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import BadInput
from flows.automations import FAILURES, HEARTBEAT_SECONDS, TAG, ZOMBIES, install

pytestmark = [pytest.mark.server, pytest.mark.slow]

# As a worker runs it: with the tag of its deployment.
RUN = """
import sys
from prefect import tags
from flows.retrain import retrain
with tags("idiom"):
    retrain(sys.argv[1], return_state=True)
"""


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Address of an HTTP server, and the JSON that is posted to it."""
    told: list[dict[str, Any]] = []

    class Told(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", told
        finally:
            server.shutdown()
            thread.join()


def start(workspace: Path, server: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(workspace)], env=server.environment())


def test_silent_runs_crash_and_failed_ones_are_told(prefect_server: Any, mini: Any) -> None:
    """Prevents: a night that failed, or whose machine died, of which nobody hears until the shop asks.

    Installed twice: a second call must not make a second automation, which would tell everything twice.
    """
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with (
        listening() as (address, told),
        temporary_settings({PREFECT_API_URL: prefect_server.api, PREFECT_HOME: prefect_server.home}),
    ):
        message = {"subject": "{{subject}}", "body": "{{body}}"}
        CustomWebhookNotificationBlock(name="test", url=address, json_data=message).save("team", overwrite=True)
        try:
            for _ in range(2):
                install(notify="custom-webhook/team", silent=timedelta(seconds=15))
            found = prefect_server.post("/automations/filter")
            assert sorted(each["name"] for each in found) == sorted([ZOMBIES, FAILURES])

            mini.behave("ingest", exit=2, what="there is no such file")
            start(mini.root, prefect_server).wait(timeout=600)
            prefect_server.wait_until(lambda: bool(told), seconds=300)
            assert told[0]["subject"].startswith("retrain: mini ")
            assert "BadInput" in told[0]["body"] and "mend:  this way" in told[0]["body"]

            mini.behave("ingest", sleep=120)
            silent = start(mini.root, prefect_server)
            prefect_server.wait_until((mini.root / "ingest.started").exists, seconds=300)
            silent.kill()
            silent.wait()
            query = {"flow_runs": {"state": {"type": {"any_": ["CRASHED"]}}, "tags": {"all_": [TAG]}}}
            prefect_server.wait_until(lambda: bool(prefect_server.post("/flow_runs/filter", **query)), seconds=300)
            (crashed,) = prefect_server.post("/flow_runs/filter", **query)
            assert "nothing was heard of it" in crashed["state"]["message"]
            # On a busy machine Prefect's server told the first one twice.
            prefect_server.wait_until(lambda: any("Crashed" in each["body"] for each in told), seconds=300)

            with pytest.raises(BadInput, match="there is no block slack-webhook/nobody"):
                install(notify="slack-webhook/nobody")
        finally:
            for each in prefect_server.post("/automations/filter"):
                prefect_server.delete(f"/automations/{each['id']}")


def test_the_deployments_send_heartbeats_and_carry_the_tag(repository: Path) -> None:
    """Prevents: automations that match no run, as nobody sends what they wait for."""
    for deployment in yaml.safe_load((repository / "prefect.yaml").read_text())["deployments"]:
        variables = deployment["work_pool"]["job_variables"]["env"]
        assert int(variables["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) == HEARTBEAT_SECONDS
        assert deployment["tags"] == [TAG]
