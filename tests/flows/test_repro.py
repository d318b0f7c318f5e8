"""One stage through DVC: its ending, the message that a person gets, and an interrupt that reaches the stage."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.repro import conclude, reproduce


def test_a_second_run_is_cached_and_force_runs_it_again(mini: Any) -> None:
    """Prevents: an unchanged stage shown as done anew, so that nobody sees what was really computed."""
    assert reproduce("ingest", mini.root).ending == "Completed"
    assert mini.out("ingest").read_text() == "ingest of raw"
    assert reproduce("ingest", mini.root).ending == "Cached"
    assert reproduce("ingest", mini.root, force=True).ending == "Completed"


@pytest.mark.parametrize(("status", "ending", "code"), [(2, "BadInput", 2), (3, "Refused", 3), (1, "Failed", 1)])
@pytest.mark.parametrize("aloud", [True, False], ids=["aloud", "to us"])
def test_the_stage_speaks_through_dvc(mini: Any, status: int, ending: str, code: int, aloud: bool) -> None:
    """Prevents: DVC's own exit code 255 and "failed to reproduce" in place of what the stage said, and a message that
    stands in the output and in the outcome."""
    mini.behave("ingest", exit=status, what="the file is empty", aloud=aloud)
    lines: list[str] = []
    outcome = reproduce("ingest", mini.root, on_line=lines.append)
    assert ("ingest: the file is empty" in lines) == aloud
    assert (outcome.ending, outcome.exit_code) == (ending, code)
    assert "ingest: the file is empty\n  where: there\n  mend:  this way" in outcome.message
    assert "failed to reproduce" not in outcome.message or (status == 1 and aloud)
    assert not list(mini.root.glob("work/progress/error*"))


def test_missing_raw_data_is_bad_input_with_a_mend(mini: Any) -> None:
    """Prevents: exit code 255 for a missing input, which DVC notices before the stage can."""
    (mini.root / "raw.txt").unlink()
    outcome = reproduce("ingest", mini.root)
    assert (outcome.ending, outcome.exit_code) == ("BadInput", 2)
    assert "raw.txt" in outcome.message and "idiom init" in outcome.message


def test_a_file_in_place_of_the_artifacts_is_bad_input_with_a_mend(mini: Any) -> None:
    """Prevents: Python's "Not a directory" and exit code 1 for what DVC meets before the stage can say it."""
    blocking = mini.root / "artifacts"
    blocking.write_text("not a folder")
    outcome = reproduce("ingest", mini.root)
    assert (outcome.ending, outcome.exit_code) == ("BadInput", 2)
    assert f"where: {blocking}\n" in outcome.message and "move it away" in outcome.message


def test_a_killed_stage_says_so(mini: Any) -> None:
    """Prevents: an out-of-memory kill that reads like a bug, and is therefore not tried again."""
    mini.behave("ingest", kill=int(signal.SIGKILL))
    outcome = reproduce("ingest", mini.root)
    assert outcome.ending == "Killed"
    assert "SIGKILL" in outcome.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_stage_and_its_checkpoint_is_waited_for(mini: Any, number: signal.Signals) -> None:
    """Prevents: a scheduler's SIGTERM that ends DVC and leaves the training running without a parent."""
    mini.behave("ingest", sleep=60)
    started = mini.root / "ingest.started"

    def interrupt() -> None:
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = reproduce("ingest", mini.root)
    thread.join()
    assert (outcome.ending, outcome.exit_code) == ("Interrupted", 130)
    assert (mini.root / "ingest.checkpoint").read_text() == "saved"
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_the_handlers_of_before_are_back_afterwards(mini: Any) -> None:
    """Prevents: a flow that swallows Ctrl-C between two stages."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    reproduce("ingest", mini.root)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_dvc_process_is_named(mini: Any) -> None:
    """Prevents: DVC's lock error, whose link is all that a person gets, where the holder is known."""
    mini.behave("ingest", sleep=4)
    first = threading.Thread(target=reproduce, args=("ingest", mini.root))
    first.start()
    while not (mini.root / "ingest.started").exists():
        time.sleep(0.05)
    outcome = reproduce("ingest", mini.root)
    first.join()
    assert outcome.ending == "Busy"
    assert "PID" in outcome.message and "wait" in outcome.message


def test_a_crash_keeps_its_traceback(tmp_path: Path) -> None:
    """Prevents: a bug reported without the line that raised it."""
    lines = [
        "Traceback (most recent call last):",
        "ValueError: x",
        "ERROR: failed to reproduce 'train': failed to run: python -m components train, exited with 1",
    ]
    ending, message = conclude("train", 255, lines, tmp_path)
    assert ending == "Failed" and "ValueError: x" in message
