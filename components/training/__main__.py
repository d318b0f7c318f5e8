"""Run one training job: `python -m components.training JOB.json`, or under torchrun on several processes:

    torchrun --standalone --nproc-per-node=2 -m components.training JOB.json

Needs the learning rooms' libraries only. Exit codes: 0 done, 2 bad input or parameter, 130 interrupted (saved).
"""

from __future__ import annotations

import sys
from pathlib import Path

from components.environment import prepare


def main(arguments: list[str]) -> int:
    """Exit code of the job named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m components.training JOB.json", file=sys.stderr)
        return 2
    prepare()
    # Imported here: torch and transformers take seconds, a usage error should not.
    from components.training.job import Job
    from components.training.run import train
    from components.training.torchrun import run_job

    return run_job(Path(arguments[0]), Job.load, train)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
