"""Run one training job: `python -m components.training JOB.json`, or under torchrun on several processes:

    torchrun --standalone --nproc-per-node=2 -m components.training JOB.json

Needs the learning rooms' libraries only. Exit codes: 0 done, 2 bad input or parameter, 130 interrupted (saved).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.environment import prepare
from components.errors import StageError
from components.progress import ConsoleBar, JsonLines, reporting


def main(arguments: list[str]) -> int:
    """Exit code of the job named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m components.training JOB.json", file=sys.stderr)
        return 2
    prepare()
    # Imported here: torch and transformers take seconds, a usage error should not.
    from components.training.job import Job
    from components.training.run import train
    from components.training.torchrun import PROGRESS, note_failure

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    job: Job | None = None
    try:
        job = Job.load(Path(arguments[0]))
        first = os.environ.get("RANK", "0") == "0"
        # Under torchrun the launching process shows the bar: it follows the first rank's file.
        sinks = [] if not first else [JsonLines(job.work / PROGRESS)] if several else [ConsoleBar()]
        with reporting(*sinks) as progress:
            train(job, progress)
    except StageError as error:
        if several and job is not None:
            note_failure(job, error)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
