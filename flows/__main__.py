"""The flow as a process of its own: `python -m flows [WORKSPACE] [--force]`, ending with the stage's exit code.

`idiom retrain` starts it in its own session, so that Ctrl-C reaches the stage first and the Prefect server last.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.environment import prepare
from flows.servers import adopt_running_prefect


def main(arguments: list[str]) -> int:
    """Run the flow and return the exit code."""
    force = "--force" in arguments
    folders = [argument for argument in arguments if argument != "--force"]
    workspace = folders[0] if folders else "."
    prepare(Path(workspace))  # before Prefect is imported and reads its settings

    adopt_running_prefect(Path(workspace))

    from flows.retrain import exit_code, retrain

    return exit_code(retrain(workspace, force, return_state=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
