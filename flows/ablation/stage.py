"""Run one stage of a grid, which ends when the grid's process does: `python -m flows.ablation.stage STAGE`.

Standard input is a pipe that the grid's process holds. When it ends, even by `kill -9`, the pipe closes, and the stage
stops as if it had been told to: a training saves its checkpoint, and does not go on beside the one that takes over.
"""

from __future__ import annotations

import os
import runpy
import signal

from components.processes.environment import when_the_parent_ends

if __name__ == "__main__":
    when_the_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    runpy.run_module("components", run_name="__main__", alter_sys=True)
