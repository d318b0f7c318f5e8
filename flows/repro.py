"""Runs one stage through DVC in a process group of its own; reads its output, progress and end, and stops it.

A fresh process per stage frees all memory between stages, the GPU's too; `dvc repro --single-item` shares cache and
lock file with a plain `dvc repro`. Standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from components.catalogues import remove_gone
from components.errors import StageError, unknown
from components.processes.child import Child, running
from components.registry.store import refuse_unfit
from components.settings.file import load
from components.stages import ERROR_FILE, NO_BARS, PROGRESS_FILE
from components.storage.artifacts import read_json
from flows import dvc_lock
from flows.environment import search_path

Ending = Literal["Completed", "Cached", "BadInput", "Refused", "Interrupted", "Killed", "Busy", "Failed"]
"""How a stage ended; also the name of its state in Prefect.

Killed: by a signal that we did not send (out of memory, for one). Busy: another DVC process holds the lock. Failed: a
crash, with its traceback in the log.
"""

EXIT_CODES: dict[str, int] = {"Completed": 0, "Cached": 0, "BadInput": 2, "Refused": 3, "Interrupted": 130}
"""Exit code of a person's command for each ending; 1 for the others."""

WORTH_ANOTHER_TRY: frozenset[str] = frozenset({"Killed", "Busy"})
"""Faults of the machine; all others come again with the same input."""

UNCHANGED = "nothing changed"
"""What is said of a stage that DVC skips."""

_KEPT_LINES, _KEPT_BYTES = 400, 65536
_SKIPPED = re.compile(r"^Stage '.+' (didn't change, skipping|is cached - skipping run)")
_FAILED = re.compile(r"failed to reproduce '(.+?)'")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")
_MISSING = re.compile(r"No such file or directory: '(.+)'|missing data 'source': (.+)")
_BLOCKED = re.compile(r"(?:Not a directory|File exists): '(.+)'")
_DVC_INTERRUPTED = 252
_NOISE = re.compile(
    r"^\s*$|^> |^To track the changes with git|^\s+git add |^To enable auto staging"
    r"|^\s+dvc config core.autostage|^Use `dvc push`|^(Generating|Updating) lock file"
)
"""DVC's advice after each stage, and what it does to its lock file; seven times the same says nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended, after how many seconds, and for a bad ending what the person should read."""

    stage: str
    ending: Ending
    seconds: float
    message: str
    output: str = ""
    """The end of what DVC and the stages printed, of a `reproduce_all`."""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.ending, 1)


def reproduce(
    stage: str,
    workspace: Path,
    *,
    force: bool = False,
    progress_file: Path | None = None,
    bars: bool = True,
    beside: bool = False,
    on_line: Callable[[str], None] = lambda line: None,
    on_tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run `dvc repro --single-item STAGE` in `workspace` and say how it ended; never raises for a stage that fails.

    beside: others run side by side with it, so that DVC's lock is waited for, which is held for moments alone.
    bars: whether that output has a line at each quarter of a task; false where they are drawn from `progress_file`.
    on_line gets each line of output as it comes, on_tick is called about four times a second. SIGINT and SIGTERM to
    this process are handed to the stage as SIGINT, and its checkpoint is waited for; a second signal kills it.
    """
    environment = dvc_environment()
    error_file = _error_file(workspace, environment)
    if progress_file is not None:
        progress_file.unlink(missing_ok=True)
        environment[PROGRESS_FILE] = str(progress_file)
    if not bars:
        environment[NO_BARS] = "1"
    command = [
        "dvc",
        *(["--wait-for-lock"] if beside else []),
        "repro",
        "--single-item",
        *(["--force"] if force else []),
        stage,
    ]
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    if mended := dvc_lock.mend(workspace):
        on_line(mended)
    started = time.monotonic()
    with running(command, cwd=workspace, environment=environment, output="pipe") as child:
        for line in child.lines():
            if line is None:
                on_tick()
            elif not _NOISE.match(line):
                lines.append(line)
                on_line(line)
    on_tick()
    ending, message = _said(error_file) or conclude(stage, child.wait(), list(lines), workspace)
    return Outcome(stage, ending, time.monotonic() - started, message)


def reproduce_all(workspace: Path, until: str | None = None, *, force: bool = False) -> Outcome:
    """Run plain `dvc repro`, to the stage `until` or to the end, its output on our own stderr as it comes.

    On a terminal with its bars; in a log without what says nothing (`_NOISE`). DVC ends with 255 for every failure; the
    outcome says what the failed stage itself said, and the output does not.

    Raises `BadInput` for a stage that the graph has not, and for a store that `register` would refuse in the end.
    """
    from flows import graph

    refuse_unfit(workspace)
    names = [stage.name for stage in graph.read(workspace)]
    if until is not None and until not in names:
        raise unknown("stage", until, names, where=str(workspace / "dvc.yaml"))
    if gone := remove_gone(workspace, load(workspace / "params.yaml")):
        print(f"no longer a catalogue of this model: {', '.join(gone)}", file=sys.stderr)
    command = ["dvc", "repro", *(["--force"] if force else []), *([until] if until else [])]
    kept = ""
    if mended := dvc_lock.mend(workspace):
        print(mended, file=sys.stderr)
    started = time.monotonic()
    output: Literal["pipe", "terminal"] = "terminal" if sys.stderr.isatty() else "pipe"
    environment = dvc_environment()
    error_file = _error_file(workspace, environment)
    with running(command, cwd=workspace, environment=environment, output=output) as child:
        for part in _drawn(child) if output == "terminal" else _logged(child):
            kept = (kept + part)[-_KEPT_BYTES:]
    text = _ESCAPES.sub("", kept).replace("\r", "\n")
    failed = _FAILED.search(text)
    stage = failed[1] if failed else (until or "repro")
    lines = [line for line in text.split("\n") if not _NOISE.match(line)]
    ending, message = _said(error_file) or conclude(stage, child.wait(), lines, workspace)
    return Outcome(stage, ending, time.monotonic() - started, "" if child.wait() == 0 else message, text)


def _error_file(workspace: Path, environment: dict[str, str]) -> Path:
    """Where a stage leaves its error, which is then said once: by us, at the end. Nothing is left there of before."""
    path = workspace / "work" / "progress" / f"error-{os.getpid()}.json"  # two runs at once must not take each other's
    path.unlink(missing_ok=True)
    environment[ERROR_FILE] = str(path)
    return path


def _said(error_file: Path) -> tuple[Ending, str] | None:
    """The ending and the message of a stage that left an error; None where none did."""
    if not error_file.is_file():
        return None
    facts = read_json(error_file)
    error_file.unlink()
    ending = next((name for name, code in EXIT_CODES.items() if code == facts["exit_code"]), "Failed")
    return cast(Ending, ending), f"{facts['stage']}: {StageError.from_facts(facts)}"


def _drawn(child: Child) -> Iterator[str]:
    """Write what a program draws on a terminal to our own, byte by byte, and return it."""
    for chunk in child.chunks():
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        yield chunk.decode("utf-8", errors="replace")


def _logged(child: Child) -> Iterator[str]:
    """Write the lines of a program that say something, and return all of them."""
    for line in child.lines():
        if line is None:
            continue
        if not _NOISE.match(line):
            print(line, file=sys.stderr, flush=True)
        yield line + "\n"


def dvc_environment() -> dict[str, str]:
    """Environment of a DVC that says what it does at once, in this environment's programs."""
    return {**os.environ, "PATH": search_path(), "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def conclude(stage: str, code: int, lines: list[str], workspace: Path) -> tuple[Ending, str]:
    """The ending and the message for a person, from DVC's exit code and the last lines of its output."""
    text = "\n".join(lines)
    if code == 0:
        return ("Cached", UNCHANGED) if any(map(_SKIPPED.match, lines)) else ("Completed", "")
    exited = _EXITED.search(text)
    status = int(exited[1]) if exited else None
    if status in (130, -signal.SIGINT) or (status is None and code in (_DVC_INTERRUPTED, -signal.SIGINT)):
        return "Interrupted", message_of(stage, lines) or f"{stage}: interrupted; the same command goes on from there"
    if status == 2:
        return "BadInput", message_of(stage, lines)
    if status == 3:
        return "Refused", message_of(stage, lines)
    if status is not None and (status < 0 or status > 128):
        return "Killed", (
            f"{stage}: killed by {_signal_name(-status if status < 0 else status - 128)}\n"
            "  where: the stage's process\n  mend:  SIGKILL is most often memory: see `dmesg`, take smaller batches"
        )
    if status is None and code < 0:
        return "Killed", f"{stage}: DVC was killed by {_signal_name(-code)}"
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
    if status is None and (blocked := _BLOCKED.search(text)):
        path = workspace / blocked[1]
        return "BadInput", (
            f"{stage}: a file stands where a folder is needed\n"
            f"  where: {next((each for each in (path, *path.parents) if each.exists()), path)}\n"
            "  mend:  move it away, then run this again"
        )
    return "Failed", "\n".join([f"{stage}: exited with {code if status is None else status}", *lines[-15:]])


def message_of(stage: str, lines: list[str]) -> str:
    """The stage's own error message: from its `STAGE: what` line to where DVC speaks again."""
    starts = [number for number, line in enumerate(lines) if line.startswith(f"{stage}: ")]
    if not starts:
        return ""
    message = lines[starts[-1] :]
    ends = [number for number, line in enumerate(message) if line.startswith("ERROR: failed to reproduce")]
    return "\n".join(message[: ends[0]] if ends else message)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in {each.value for each in signal.Signals} else f"signal {number}"


def _blockers(text: str) -> str:
    """` (PID 123: dvc repro)` where DVC says who holds the lock."""
    found = re.findall(r"\(PID (\d+)\): (.+)", text)
    return "".join(f" (PID {pid}: {command.strip()})" for pid, command in dict(found).items())
