"""No process outlives its command: each is ended at random moments, and what is left of it is counted.

The moments are drawn by a seed from the time that the command takes to be fully there. What lives is found by a mark in
the environment, which all descendants inherit, so nothing escapes by another group, session or parent.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.left_behind import Marked
from tests.workspaces import PREFECT, free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]

_END_SECONDS = 180.0
"""A ceiling for a busy machine; a failure waits so long, a success a second or two."""

COMMANDS: dict[str, tuple[tuple[str, ...], float]] = {
    "retrain": (("flows.cli", "retrain", "--workspace", "."), 12.0),
    "flow": (("flows", "."), 12.0),
    "repro": (("flows.cli", "repro", "--workspace", "."), 6.0),
    "ui": (("flows.cli", "ui", "--workspace", "."), 10.0),
}
"""Command, and the seconds from which moments are drawn."""


def moments(seed: str, longest: float, count: int) -> list[float]:
    """Spread over the whole time: one in each of `count` equal parts."""
    drawn = random.Random(seed)
    return [longest * (part + drawn.random()) / count for part in range(count)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server elsewhere: the command starts its own."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_TRACKING"))]:
        monkeypatch.delenv(name)
    for name, value in PREFECT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("retrain", signal.SIGINT),
        ("retrain", signal.SIGTERM),
        ("retrain", signal.SIGKILL),
        ("flow", signal.SIGKILL),
        ("repro", signal.SIGKILL),
        ("ui", signal.SIGKILL),
    ],
    ids=lambda value: value if isinstance(value, str) else signal.Signals(value).name,
)
def test_nothing_is_left(mini: Any, alone: None, name: str, number: int) -> None:
    """Prevents: a Prefect server for each Ctrl-C that came while it started, ports that answer after `kill -9`, and a
    training that goes on beside the next one."""
    mini.behave("train", sleep=120)
    command, longest = COMMANDS[name]
    if name == "ui":
        command += ("--mlflow-port", str(free_port()), "--prefect-port", str(free_port()))
    for moment in moments(f"{name} {number}", longest, 3):
        started = Marked(*command, cwd=mini.root)
        try:
            time.sleep(moment)
            assert started.process.poll() is None, started.log.read_text()
            started.process.send_signal(number)
            left = started.left(_END_SECONDS)
            assert not left, f"ended after {moment:.2f} s"
        finally:
            started.end()


def test_a_training_that_runs_saves_before_it_ends(mini: Any, alone: None) -> None:
    """Prevents: a flow that is killed alone and takes hours of training with it."""
    mini.behave("train", sleep=120)
    started = Marked(*COMMANDS["flow"][0], cwd=mini.root)
    try:
        until = time.monotonic() + 600
        while not (mini.root / "train.started").exists():
            assert started.process.poll() is None and time.monotonic() < until, started.log.read_text()
            time.sleep(0.1)
        time.sleep(0.2)
        started.process.kill()
        assert not started.left(_END_SECONDS)
        assert (Path(mini.root) / "train.checkpoint").exists()
    finally:
        started.end()
