"""`python -m components.serving WORKSPACE --alias champion --fd 3`: a server on a socket that the caller has opened."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from components.settings.decoding import Mode


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--alias", default="champion")
    parser.add_argument("--mode", choices=get_args(Mode), help="who answers (default: as each version says)")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of a listening socket")
    given = parser.parse_args()
    from components.processes.environment import prepare

    prepare()
    import uvicorn

    from components.serving.app import make_app
    from components.settings.file import load

    app = make_app(given.workspace, load(given.workspace / "params.yaml"), alias=given.alias, mode=given.mode)
    uvicorn.run(app, fd=given.fd, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
