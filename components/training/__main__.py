"""Run one training job: `python -m components.training JOB.json`, or under torchrun on several processes:

    torchrun --standalone --nproc-per-node=2 -m components.training JOB.json
    accelerate launch --multi_gpu --num_processes 2 -m components.training JOB.json

The stage `train` writes JOB.json (job.json in the work folder of the training) and starts torchrun itself where
train.ranks or train.nodes is more than one. accelerate sets the same variables, by its own questions and settings;
device, precision and compilation are those of the job, whatever accelerate is told about them.

Needs the learning rooms' libraries only. Exit codes: 0 done, 2 bad input or parameter, 130 interrupted (saved).
"""

from __future__ import annotations

import sys
from pathlib import Path

from components import __version__
from components.processes.environment import prepare


def main(arguments: list[str]) -> int:
    """Exit code of the job named on the command line."""
    if arguments == ["--version"]:
        print(f"idiom {__version__}")
        return 0
    if len(arguments) != 1:
        print("usage: python -m components.training JOB.json", file=sys.stderr)
        return 2
    prepare()
    # Imported here: torch and transformers take seconds, a usage error should not.
    from components.processes.torchrun import run_job
    from components.training.job import Job
    from components.training.run import train

    path = Path(arguments[0])
    return run_job(path.parent, lambda progress: train(Job.load(path), progress))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
