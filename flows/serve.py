"""`idiom serve`: MLflow's server of the version behind an alias, from this environment; one that dies is replaced."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from components.errors import BadInput
from components.processes.child import STOP_SECONDS, Child
from components.processes.signals import Stop
from components.settings.params import Params
from flows.environment import search_path
from flows.servers import answers

_LOOK_SECONDS = 0.2


def serve(workspace: Path, params: Params, *, host: str, port: int, alias: str, say: Callable[[str], None]) -> int:
    """Serve until Ctrl-C; returns the exit code: that of a server that ends before it has answered, which another would
    do as well. Raises `BadInput` for an alias without a version, or an address that cannot be listened on."""
    from components.registry.bundle import DIGEST
    from components.registry.champion import served_model
    from components.registry.store import tracking_uri

    with _listening(host, port) as listening:
        model, digest = served_model(workspace, params, alias=alias)  # refuses now what the server would say in its log
        address = f"http://{host}:{port}"
        say(f"models:/{params.register.model_name}@{alias} answers at {address}/invocations in about ten seconds. Ask:")
        say(f"""  curl -s {address}/invocations -H 'Content-Type: application/json' """)
        say("""    -d '{"dataframe_records": [{"history": ["ITEM_ID", "ITEM_ID"], "k": 5}]}'""")
        say("Ctrl-C ends it.")
        environment = {"MLFLOW_TRACKING_URI": tracking_uri(workspace), DIGEST: digest, "PATH": search_path()}
        with Stop().listening() as stop:
            while not stop.requested:
                code = _until_it_ends(model, listening, environment, workspace, stop)
                if code is not None:
                    return code
                if not stop.requested:
                    say("the server died; another one starts, and answers what was asked meanwhile")
    return 0  # Ctrl-C is how it is meant to end


def _until_it_ends(
    model: Path, listening: socket.socket, environment: dict[str, str], workspace: Path, stop: Stop
) -> int | None:
    """Run a server on the socket until it ends or a stop is requested; its exit code if it never answered, or None."""
    from components.registry.champion import server_of

    command, its_own = server_of(model)
    server = Child(
        [*command, "--fd", str(listening.fileno())],
        cwd=workspace,
        environment={**its_own, **environment},
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
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise BadInput(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            where=f"{host}:{port}",
            mend=f"end what listens there, or take another port: --port {port + 1}",
        ) from error
