"""The Prefect server of a flow that finds no other: its address is known at once, it ends with this process.

    server = OwnServer()     # before Prefect is imported: both start at the same time
    server.wait()            # until it answers

Prefect would start one by itself (the same program, settings and database), which no signal and no `kill -9` ended
while it started. Standard library only.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import time

from components.errors import Interrupted, StageError
from components.processes.child import STOP_SECONDS, Child
from components.processes.signals import Stop
from flows.environment import EPHEMERAL_STARTUP_SECONDS
from flows.servers import answers

_LOOK_SECONDS = 0.1

# As prefect.server.api.server.SubprocessASGIServer sets them: no pages, no scheduler, no other app in that process.
_EPHEMERAL = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class OwnServer:
    """A Prefect server on the database of PREFECT_HOME that starts, answers, and ends with this process."""

    def __init__(self) -> None:
        """Start it and set PREFECT_API_URL, by which Prefect in this process, and those that it starts, find it."""
        with socket.socket() as listening:
            # Handed down bound: nobody else can take the port while the server starts.
            listening.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
            command += ["--fd", str(listening.fileno()), "--log-level", "error", "--lifespan", "on"]
            self._child = Child(
                command,
                environment={**os.environ, **_EPHEMERAL},
                watched=signal.SIGTERM,
                grace=STOP_SECONDS,
                keep_open=(listening.fileno(),),
            )
        # At the very end, when Prefect's threads have told it all that happened: what is registered first runs last.
        atexit.register(self._child.stop)
        os.environ["PREFECT_API_URL"] = f"{self.address}/api"
        os.environ.setdefault("PREFECT_UI_URL", "")  # it has no pages, and no link to them is printed

    def wait(self) -> None:
        """Wait until it answers. Raises `Interrupted` after SIGINT or SIGTERM, `StageError` where it does not start."""
        until = time.monotonic() + EPHEMERAL_STARTUP_SECONDS
        with Stop().listening() as stop:
            while self._child.code is None and time.monotonic() < until:
                if stop.requested:
                    mend = "run the same command again"
                    raise Interrupted("stopped while Prefect started; nothing ran", where=self.address, mend=mend)
                if answers(f"{self.address}/api/health"):
                    return
                time.sleep(_LOOK_SECONDS)
        raise StageError(
            "Prefect's server did not start",
            where=os.environ["PREFECT_HOME"],
            mend="what it said stands above; make room if that disk is full; a damaged database can be moved away, it "
            "holds no model",
        )
