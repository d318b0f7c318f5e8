"""Run a flow in a process of its own, which ends with the exit code of what it ran.

    python -m flows [WORKSPACE] [--force] [--from VERSION]      # the chain
    python -m flows score PARAMETERS           # bulk scoring; a JSON object, as flows/score_flow.py takes them
    python -m flows monitor PARAMETERS         # drift, likewise (flows/monitor_flow.py)

The command line starts it in a session of its own, so that Ctrl-C reaches the work first and the Prefect server last.
All that it starts ends with it (processes/watcher.py).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from components import __version__
from components.errors import StageError
from components.machine import refused_by_the_machine
from flows.environment import prepare
from flows.own_server import OwnServer
from flows.servers import adopt_running_prefect


def main(arguments: list[str]) -> int:
    """Run the flow and return the exit code."""
    if arguments == ["--version"]:
        print(f"idiom {__version__}")
        return 0
    try:
        if arguments[:1] == ["score"]:
            return _score(**json.loads(arguments[1]))
        if arguments[:1] == ["monitor"]:
            return _monitor(**json.loads(arguments[1]))
        parser = argparse.ArgumentParser(prog="python -m flows")
        parser.add_argument("workspace", nargs="?", default=".")
        parser.add_argument("--force", action="store_true")
        parser.add_argument("--from", dest="start")
        chosen = parser.parse_args(arguments)
        return _retrain(str(Path(chosen.workspace).resolve()), chosen.force, chosen.start)
    except Exception as error:
        said = error if isinstance(error, StageError) else refused_by_the_machine(error, Path.cwd())
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return said.exit_code


def _retrain(workspace: str, force: bool, start: str | None) -> int:
    server = _server(workspace)

    from flows.retrain import exit_code, retrain

    if server:
        server.wait()
    return exit_code(retrain(workspace, force, start=start, return_state=True))


def _score(workspace: str, **parameters: object) -> int:
    server = _server(workspace)

    from flows.retrain import exit_code
    from flows.score_flow import score

    if server:
        server.wait()
    state = score(workspace, **parameters, return_state=True)  # type: ignore[arg-type]
    if state.is_completed():
        print(state.message)
    return exit_code(state)


def _monitor(workspace: str) -> int:
    server = _server(workspace)

    from flows.monitor_flow import monitor
    from flows.retrain import exit_code

    if server:
        server.wait()
    state = monitor(workspace, return_state=True)
    if state.is_completed():
        print(state.message)
    return exit_code(state)


def _server(workspace: str) -> OwnServer | None:
    """Before Prefect is imported and reads its settings: a server that runs already, else one that starts meanwhile."""
    prepare(Path(workspace))
    adopt_running_prefect(Path(workspace))
    return None if "PREFECT_API_URL" in os.environ else OwnServer()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
