"""Run a flow in a process of its own, which ends with the exit code of what it ran.

    python -m flows [WORKSPACE] [--force]      # the chain
    python -m flows score PARAMETERS           # bulk scoring; a JSON object, as flows/score_flow.py takes them

The command line starts it in a session of its own, so that Ctrl-C reaches the work first and the Prefect server last.
With `--tied` (the first argument) it gets SIGTERM when the process of the command line ends, even by `kill -9`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from components import __version__
from components.processes.environment import stop_with_the_parent
from flows.environment import prepare
from flows.servers import adopt_running_prefect


def main(arguments: list[str]) -> int:
    """Run the flow and return the exit code."""
    if arguments == ["--version"]:
        print(f"idiom {__version__}")
        return 0
    if arguments[:1] == ["--tied"]:
        arguments = arguments[1:]
        stop_with_the_parent()
    if arguments[:1] == ["score"]:
        return _score(**json.loads(arguments[1]))
    force = "--force" in arguments
    folders = [argument for argument in arguments if argument != "--force"]
    workspace = folders[0] if folders else "."
    _ready(workspace)

    from flows.retrain import exit_code, retrain

    return exit_code(retrain(workspace, force, return_state=True))


def _score(workspace: str, **parameters: object) -> int:
    _ready(workspace)

    from flows.retrain import exit_code
    from flows.score_flow import score

    state = score(workspace, **parameters, return_state=True)  # type: ignore[arg-type]
    if state.is_completed():
        print(state.message)
    return exit_code(state)


def _ready(workspace: str) -> None:
    """Before Prefect is imported and reads its settings."""
    prepare(Path(workspace))
    adopt_running_prefect(Path(workspace))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
