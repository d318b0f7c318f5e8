"""Run one stage of a grid, which ends when the grid's process does: `python -m flows.ablation.stage STAGE`.

Standard input is a pipe that the grid's process holds. When that process ends, even by `kill -9`, the pipe closes and
the stage gets SIGTERM: a training saves its checkpoint, and does not go on beside the one that takes over.
"""

from __future__ import annotations

import runpy

from components.processes.environment import stop_with_the_parent

if __name__ == "__main__":
    stop_with_the_parent()
    runpy.run_module("components", run_name="__main__", alter_sys=True)
