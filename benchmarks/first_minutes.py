"""What a newcomer waits for and reads: lines that a training prints, and CPU seconds that a recommendation takes.

    python benchmarks/first_minutes.py                      # the demo at its full size, this code (many minutes)
    python benchmarks/first_minutes.py --micro              # a training of seconds instead
    python benchmarks/first_minutes.py --commit a846d43     # the same of an earlier commit

Prints one JSON line. `log`: `idiom retrain` with its output in a file, as in a nightly log; lines, characters, the
longest line, and lines a minute. `recommend`: user and system seconds of `idiom recommend ITEM` on the champion of that
training, process and children, best and all of several runs, the first of which is not counted (it compiles bytecode).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from machine import facts

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
MICRO = {"size": "d_model=32,layers=1,heads=2,d_ff=64", "generator": {"cold_start_steps": 20}}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", default="HEAD", help="the code to measure")
    parser.add_argument("--micro", action="store_true", help="a training of seconds")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="idiom-first-") as folder:
        workspace = checkout(Path(folder), chosen.commit, micro=chosen.micro)
        log = retrained(workspace)
        item = first_item(workspace)
        found = {
            "benchmark": "first_minutes",
            "commit": git("rev-parse", "--short", chosen.commit),
            "training": "micro" if chosen.micro else "demo",
            "log": log,
            "recommend": recommended(workspace, item),
        }
        repeated = {"repro_log": lines_of(["idiom", "repro", "--force"], workspace)} if chosen.micro else {}
    print(json.dumps({**found, **repeated, **facts()}))


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def checkout(folder: Path, commit: str, *, micro: bool) -> Path:
    """A workspace of its own with the code of a commit and nothing run yet."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    if micro:
        path = folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params["train"] = {**params["train"], **MICRO}
        path.write_text(yaml.safe_dump(params))
    return folder


def environment(workspace: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "IDIOM_"))}
    return {
        **own,
        "PYTHONPATH": str(workspace),
        "PATH": path,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1800",
    }


def retrained(workspace: Path) -> dict[str, Any]:
    return lines_of(["idiom", "retrain"], workspace)


def lines_of(command: list[str], workspace: Path) -> dict[str, Any]:
    """What a command prints into a log file. Raises `SystemExit` with its end if the command fails."""
    path, started = workspace / "run.log", time.monotonic()
    with path.open("wb") as log:
        code = subprocess.run(command, cwd=workspace, env=environment(workspace), stdout=log, stderr=log).returncode
    seconds = time.monotonic() - started
    text = _ESCAPES.sub("", path.read_text(errors="replace"))
    if code:
        raise SystemExit(text[-4000:])
    lines = text.splitlines()
    return {
        "lines": len(lines),
        "characters": len(text),
        "longest": max(map(len, lines)),
        "seconds": round(seconds, 1),
        "lines_per_minute": round(60 * len(lines) / seconds, 1),
    }


def first_item(workspace: Path) -> str:
    import polars as pl

    return str(pl.read_parquet(workspace / "artifacts/demo/clean/items_clean.parquet")["item_id"][0])


def recommended(workspace: Path, item: str) -> dict[str, Any]:
    """CPU seconds of `idiom recommend ITEM` in fresh processes."""
    seconds = []
    for _ in range(RUNS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["idiom", "recommend", item]
        subprocess.run(command, cwd=workspace, env=environment(workspace), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    counted = seconds[1:]
    return {"cpu_seconds": round(min(counted), 2), "runs": [round(each, 2) for each in counted]}


if __name__ == "__main__":
    main()
