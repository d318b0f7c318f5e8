"""One stage through DVC, in a process group of its own: its lines, its progress, its end, and how to stop it.

A fresh process per stage frees all memory between stages, the GPU's too; `dvc repro --single-item` shares cache and
lock file with a plain `dvc repro`. Standard library only.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from components.stages import PROGRESS_FILE
from flows.environment import search_path

Ending = Literal["Completed", "Cached", "BadInput", "Refused", "Interrupted", "Killed", "Busy", "Failed"]
"""How a stage ended; also the name of its state in Prefect. Killed: by a signal that we did not send (out of memory, for
one). Busy: another DVC process holds the lock. Failed: a crash, with its traceback in the log."""

EXIT_CODES: dict[str, int] = {"Completed": 0, "Cached": 0, "BadInput": 2, "Refused": 3, "Interrupted": 130}
"""Exit code of a person's command for each ending; 1 for the others."""

WORTH_ANOTHER_TRY: frozenset[str] = frozenset({"Killed", "Busy"})
"""Faults of the machine; all others come again with the same input."""

_TICK_SECONDS = 0.25
_KEPT_LINES = 400
_SKIPPED = re.compile(r"^Stage '.+' (didn't change, skipping|is cached - skipping run)")
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")
_MISSING = re.compile(r"No such file or directory: '(.+)'|missing data 'source': (.+)")
_DVC_INTERRUPTED = 252
_NOISE = re.compile(
    r"^\s*$|^> |^To track the changes with git|^\s+git add |^To enable auto staging|^\s+dvc config core.autostage|^Use `dvc push`"
)
"""DVC's advice after each stage; seven times the same says nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended, after how many seconds, and for a bad ending what the person should read."""

    stage: str
    ending: Ending
    seconds: float
    message: str

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.ending, 1)


def reproduce(
    stage: str,
    workspace: Path,
    *,
    force: bool = False,
    progress_file: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    on_tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run `dvc repro --single-item STAGE` in `workspace` and say how it ended; never raises for a stage that fails.

    on_line gets each line of output as it comes, on_tick is called about four times a second. SIGINT and SIGTERM to this
    process are handed to the stage as SIGINT, and its checkpoint is waited for; a second signal kills it.
    """
    environment = {**os.environ, "PATH": search_path(), "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    if progress_file is not None:
        progress_file.unlink(missing_ok=True)
        environment[PROGRESS_FILE] = str(progress_file)
    command = ["dvc", "repro", "--single-item", *(["--force"] if force else []), stage]
    started = time.monotonic()
    with _passing_signals() as attach:
        process = subprocess.Popen(
            command,
            cwd=workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        attach(process)
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        for line in _lines(process):
            if line is None:
                on_tick()
            elif not _NOISE.match(line):
                lines.append(line)
                on_line(line)
        code = process.wait()
    on_tick()
    ending, message = conclude(stage, code, list(lines), workspace)
    return Outcome(stage, ending, time.monotonic() - started, message)


def conclude(stage: str, code: int, lines: list[str], workspace: Path) -> tuple[Ending, str]:
    """What DVC's exit code and the last lines of output say: the ending, and the message for a person."""
    text = "\n".join(lines)
    if code == 0:
        return ("Cached", "nothing changed") if any(map(_SKIPPED.match, lines)) else ("Completed", "")
    exited = _EXITED.search(text)
    status = int(exited[1]) if exited else None
    if status in (130, -signal.SIGINT) or (status is None and code in (_DVC_INTERRUPTED, -signal.SIGINT)):
        return "Interrupted", _said(stage, lines) or f"{stage}: interrupted; the same command goes on from there"
    if status == 2:
        return "BadInput", _said(stage, lines)
    if status == 3:
        return "Refused", _said(stage, lines)
    if status is not None and (status < 0 or status > 128):
        number = -status if status < 0 else status - 128
        return "Killed", (
            f"{stage}: killed by {signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'}\n"
            "  where: the stage's process\n  mend:  SIGKILL is most often memory: see `dmesg`, take smaller batches"
        )
    if status is None and code < 0:
        return "Killed", f"{stage}: DVC was killed by {signal.Signals(-code).name}"
    if status is None and ("Unable to acquire lock" in text or "is busy, it is being blocked by" in text):
        return "Busy", (
            f"{stage}: another DVC process works in this workspace{_blockers(text)}\n"
            f"  where: {workspace / '.dvc' / 'tmp'}\n  mend:  wait until it has ended, or end it; then run this again"
        )
    if status is None and (missing := _MISSING.search(text)):
        return "BadInput", (
            f"{stage}: its input is missing\n  where: {missing[1] or missing[2]}\n"
            "  mend:  put it there, or correct `ingest.path` in params.yaml (`idiom init PATH` writes it)"
        )
    return "Failed", "\n".join([f"{stage}: exited with {code if status is None else status}", *lines[-15:]])


def _said(stage: str, lines: list[str]) -> str:
    """The stage's own error message: from its `STAGE: what` line to where DVC speaks again."""
    starts = [number for number, line in enumerate(lines) if line.startswith(f"{stage}: ")]
    if not starts:
        return ""
    message = lines[starts[-1] :]
    ends = [number for number, line in enumerate(message) if line.startswith("ERROR: failed to reproduce")]
    return "\n".join(message[: ends[0]] if ends else message)


def _blockers(text: str) -> str:
    """` (PID 123: dvc repro)` where DVC says who holds the lock."""
    found = re.findall(r"\(PID (\d+)\): (.+)", text)
    return "".join(f" (PID {pid}: {command.strip()})" for pid, command in dict(found).items())


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Lines of output as they come; None about every quarter second and at each line, so that progress is looked at."""
    arrived: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            arrived.put(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    looked = time.monotonic()
    while True:
        try:
            yield arrived.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            if not reader.is_alive():
                return
            # A stray grandchild may hold the pipe open: the stage has ended when its process has.
            if process.poll() is not None:
                reader.join(timeout=2.0)
                while not arrived.empty():
                    yield arrived.get()
                return
        if time.monotonic() - looked >= _TICK_SECONDS:
            looked = time.monotonic()
            yield None


@contextmanager
def _passing_signals() -> Iterator[Callable[[subprocess.Popen[str]], None]]:
    """While open, SIGINT and SIGTERM go to the attached process group instead of ending this process.

    The handlers stand before the process starts: a background job's ignored SIGINT would otherwise be inherited, and
    the stage could not be asked to stop. Outside the main thread Python cannot set handlers: nothing is passed on.
    """
    attached: list[subprocess.Popen[str]] = []
    asked: list[int] = []

    def send(number: int) -> None:
        for process in attached:
            if process.poll() is None:
                os.killpg(process.pid, number)

    def handle(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        # The whole group: DVC ignores SIGINT while its stage runs, the stage and its ranks save their checkpoint.
        send(signal.SIGINT if len(asked) == 1 else signal.SIGKILL)

    def attach(process: subprocess.Popen[str]) -> None:
        attached.append(process)
        if asked:  # it came while the process was starting
            send(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield attach
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield attach
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
