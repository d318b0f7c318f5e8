"""`idiom serve`: a server (components/serving) of the version that an alias names now; one that dies is replaced."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from components.errors import BadInput
from components.processes.child import STOP_SECONDS, Child
from components.processes.environment import python_path
from components.processes.signals import Stop
from components.settings.decoding import Mode
from components.settings.params import Params
from flows.environment import search_path
from flows.servers import answers

_LOOK_SECONDS = 0.2


def serve(
    workspace: Path,
    params: Params,
    *,
    host: str,
    port: int,
    alias: str,
    say: Callable[[str], None],
    mode: Mode | None = None,
) -> int:
    """Serve until Ctrl-C; returns the exit code: that of a server that ends before it has answered, which another would
    do as well. mode: who answers, instead of whom a version names. Raises `BadInput` for an alias without a version, a
    mode that it lacks, or an address that cannot be listened on."""
    from components.registry.bundle import decoding_of
    from components.registry.champion import champion_bundle
    from components.registry.store import tracking_uri

    with _listening(host, port) as listening:
        # Refuses now what the server would say in its log.
        decoding_of(champion_bundle(workspace, params, alias=alias), mode)
        address = f"http://{host}:{port}"
        say(f"models:/{params.register.model_name}@{alias} answers at {address}/invocations in some seconds. Ask:")
        say(f"""  curl -s {address}/invocations -H 'Content-Type: application/json' """)
        say("""    -d '{"dataframe_records": [{"history": ["ITEM_ID", "ITEM_ID"], "k": 5}]}'""")
        say(f"or try it at {address}/. What is promoted, or rolled back to, is served a second later.")
        say("Ctrl-C ends it.")
        environment = {"MLFLOW_TRACKING_URI": tracking_uri(workspace), "PATH": search_path()}
        server = [
            sys.executable,
            "-m",
            "components.serving",
            str(workspace),
            "--alias",
            alias,
            *(["--mode", mode] if mode else []),
        ]
        with Stop().listening() as stop:
            while not stop.requested:
                code = _until_it_ends(server, listening, environment, stop)
                if code is not None:
                    return code
                if not stop.requested:
                    say("the server died; another one starts, and answers what was asked meanwhile")
    return 0  # Ctrl-C is how it is meant to end


def _until_it_ends(
    command: Sequence[str], listening: socket.socket, environment: dict[str, str], stop: Stop
) -> int | None:
    """Run a server until it ends or a stop is requested; its exit code if it never answered, else None."""
    server = Child(
        [*command, "--fd", str(listening.fileno())],
        cwd=Path(__file__).resolve().parents[1],
        environment={**os.environ, **environment, "PYTHONPATH": python_path()},
        watched=signal.SIGTERM,
        grace=STOP_SECONDS,
        keep_open=(listening.fileno(),),
    )
    host, port = listening.getsockname()[:2]
    answered = False
    try:
        while server.code is None and not stop.requested:
            answered = answered or answers(f"http://{host}:{port}/ping", seconds=1.0)
            time.sleep(_LOOK_SECONDS)
    finally:
        code = server.code
        server.stop()
    return None if answered or code is None else (code if code > 0 else 128 - code)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that stays open over the servers: what is asked while another one starts is answered by that."""
    try:
        listening = socket.create_server((host, port), backlog=2048)
        # What it accepts inherits this; else a small answer in two pieces waits 40 ms for the client's acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise BadInput(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            where=f"{host}:{port}",
            mend=f"end what listens there, or take another port: --port {port + 1}",
        ) from error
