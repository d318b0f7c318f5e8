"""Programs in process groups of their own: asked to stop, killed with what they started, never left behind."""

from __future__ import annotations

import os
import pty
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from components.processes.child import Child, run_to_end, running

# Writes its process id and that of a child when both run; SIGINT ends it with 130 unless it is stubborn.
PROGRAM = """
import os, pathlib, signal, subprocess, sys, time
def stop(number, frame):
    sys.exit(130)
signal.signal(signal.SIGINT, signal.SIG_IGN if "stubborn" in sys.argv else stop)
child = subprocess.Popen(["sleep", "60"])
path = pathlib.Path(sys.argv[1])
path.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
path.with_suffix(".new").rename(path)
time.sleep(60)
"""


def command(pids: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(pids), *more]


def started(pids: Path) -> list[int]:
    """Process ids of the program and its child."""
    while not pids.exists():
        time.sleep(0.02)
    return [int(pid) for pid in pids.read_text().split()]


def send_when_started(pids: Path, *signals: int) -> threading.Thread:
    def send() -> None:
        started(pids)
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def lives(pid: int) -> bool:
    """Whether it runs; one that has ended and is not reaped by init yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_end(pids: list[int], seconds: float = 10.0) -> bool:
    """Whether none of them runs, at the latest after some seconds: a signal to a group reaches each when it may."""
    deadline = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(lives, pids))


@pytest.mark.parametrize(
    ("more", "signals", "code"),
    [((), (signal.SIGTERM,), 130), (("stubborn",), (signal.SIGINT, signal.SIGTERM), -signal.SIGKILL)],
)
def test_the_first_signal_asks_and_the_second_kills(
    tmp_path: Path, more: tuple[str, ...], signals: tuple[int, ...], code: int
) -> None:
    """Prevents a stage that ends without its checkpoint, and one that cannot be ended."""
    thread = send_when_started(tmp_path / "pids", *signals)
    with running(command(tmp_path / "pids", *more), cwd=tmp_path) as child:
        assert child.wait() == code
    thread.join()
    assert all_end(started(tmp_path / "pids"))


def test_an_error_in_the_block_ends_the_program(tmp_path: Path) -> None:
    """Prevents a training that nobody listens to any more."""
    with pytest.raises(ValueError, match="a bug"), running(command(tmp_path / "pids"), cwd=tmp_path) as child:
        started(tmp_path / "pids")
        raise ValueError("a bug")
    assert child.code == 130


def test_exit_codes_as_a_shell_gives_them(tmp_path: Path) -> None:
    """Prevents a Ctrl-C that a scheduler takes for a failure, and a killed server that ends with a negative code."""
    thread = send_when_started(tmp_path / "pids", signal.SIGINT)
    assert run_to_end(command(tmp_path / "pids"), cwd=tmp_path, group=True) == 130
    thread.join()
    assert run_to_end([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], cwd=tmp_path) == 137
    assert run_to_end([sys.executable, "-c", "raise SystemExit(3)"], cwd=tmp_path) == 3


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_ends_with_its_workers(tmp_path: Path, how: str) -> None:
    """Prevents workers that outlive their server and hold its port."""
    child = Child(command(tmp_path / "pids"), cwd=tmp_path)
    pids = started(tmp_path / "pids")
    getattr(child, how)()
    assert child.code == (-signal.SIGTERM if how == "stop" else -signal.SIGKILL)
    assert all_end(pids)


@pytest.mark.parametrize("output", ["pipe", "terminal"])
def test_output_comes_in_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Prevents lines in halves, and a bar of DVC's that is one line of an hour."""
    person, ours = pty.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(ours, "w"))  # its size is that of the program's terminal
    code = "import sys; print('one\\rtwo'); print('drei', file=sys.stderr); sys.stdout.write('é')"
    with running([sys.executable, "-c", code], cwd=tmp_path, output=output) as child:  # type: ignore[arg-type]
        found = [line for line in child.lines() if line is not None]
    os.close(person)
    assert sorted(filter(None, found)) == sorted(["one", "two", "drei", "é"])


def test_a_program_that_is_not_there_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Prevents a flow that runs out of descriptors."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        Child(["/no/such/program"], output="pipe")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
