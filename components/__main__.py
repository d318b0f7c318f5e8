"""Run one stage in the current workspace: `python -m components STAGE` (what dvc.yaml calls).

Exit codes: 0 done; 2 bad input or parameter; 3 a gate refused; 130 interrupted with the checkpoint saved.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before any import that reads them: quiet, no telemetry.
QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(arguments: list[str]) -> int:
    """Run the stage named by `arguments` and return its exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)

    from components import stages
    from components.errors import StageError
    from components.params import load

    if len(arguments) != 1 or arguments[0] not in stages.STAGES:
        print(f"usage: python -m components {{{','.join(stages.STAGES)}}}", file=sys.stderr)
        return 2
    workspace = Path.cwd()
    try:
        stages.run(arguments[0], workspace, load(workspace / "params.yaml"))
    except StageError as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
