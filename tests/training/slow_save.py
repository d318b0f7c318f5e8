"""A rank whose checkpoints take three seconds to write: `-m tests.training.slow_save JOB.json` under torchrun."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from unittest import mock

from components.processes.torchrun import FAILURE, run_job
from components.training.checkpoints.checkpoint import Checkpoints
from components.training.checkpoints.state import TrainingState
from components.training.job import Job
from components.training.run import train

SAVED = "saved"
"""Written when a checkpoint from the middle of an epoch is whole: how long torchrun would have waited for it, and
whether the other rank has ended meanwhile."""

if __name__ == "__main__":
    save, job = Checkpoints.save, Path(sys.argv[1])

    def slow_save(self: Checkpoints, state: TrainingState) -> Path:
        if not state.place.batch:
            return save(self, state)
        time.sleep(3.0)
        path = save(self, state)
        seconds, ended = float(os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]), job.with_name(FAILURE).exists()
        job.with_name(SAVED).write_text(json.dumps([seconds, ended]))
        return path

    with mock.patch.object(Checkpoints, "save", slow_save):
        sys.exit(run_job(job.parent, lambda progress: train(Job.load(job), progress)))
