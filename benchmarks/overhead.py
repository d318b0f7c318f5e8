"""What do Prefect and DVC cost on top of the bare stages?

    python -m benchmarks.overhead            # the demo as `make retrain` runs it: about ten minutes on two cores
    python -m benchmarks.overhead --micro    # a training of seconds: less noise in the difference

Two workspaces with the same files. In one, each stage runs bare (`python -m components STAGE`), one after the other;
in the other, the Prefect flow with its ephemeral server, the flow again with nothing changed, and `dvc repro` with
nothing changed. Prints one JSON line. Run it alone: the difference of two trainings is taken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import facts
from tests.workspaces import MICRO, command, make_workspace

STAGES = ("ingest", "validate", "clean", "train", "index", "evaluate", "register")
GOALS = {"overhead_seconds": 25.0, "second_run_seconds": 25.0, "dvc_repro_unchanged_seconds": 4.0}
"""Upper limits that we set ourselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro", action="store_true", help="a training of seconds instead of the demo's")
    settings = MICRO if parser.parse_args().micro else {}
    with tempfile.TemporaryDirectory(prefix="idiom-overhead-") as folder:
        stages = bare(make_workspace(Path(folder) / "bare", settings))
        figures = chained(make_workspace(Path(folder) / "flow", settings), sum(stages.values()))
    met = {name: figures[name] < goal for name, goal in GOALS.items()}
    print(
        json.dumps(
            {
                "benchmark": "overhead",
                "setting": "micro" if settings else "demo",
                **figures,
                "bare_stage_seconds": stages,
                "goals": GOALS,
                "met": met,
                "machine": facts(),
            }
        )
    )


def bare(workspace: Path) -> dict[str, float]:
    """Seconds of each stage, run by itself."""
    return {stage: seconds(workspace, [sys.executable, "-m", "components", stage]) for stage in STAGES}


def chained(workspace: Path, bare_seconds: float) -> dict[str, Any]:
    """Seconds of the flow, of the flow again, and of `dvc repro`, the latter two with nothing changed."""
    flow = [sys.executable, "-m", "flows", str(workspace)]
    first, second = seconds(workspace, flow), seconds(workspace, flow)
    return {
        "flow_seconds": first,
        "bare_seconds": round(bare_seconds, 2),
        "overhead_seconds": round(first - bare_seconds, 2),
        "second_run_seconds": second,
        "dvc_repro_unchanged_seconds": seconds(workspace, ["dvc", "repro"]),
    }


def seconds(workspace: Path, arguments: Sequence[str]) -> float:
    """Wall time of a command. Ends the benchmark with what it printed if it fails."""
    started = time.perf_counter()
    done = command(workspace, *arguments, timeout=3600)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
