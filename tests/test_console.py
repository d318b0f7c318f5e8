"""What a person sees of a running stage: little, and enough."""

from __future__ import annotations

import io
import os
import shutil
import time

import pytest

from components.console import Console
from components.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, to be set."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_a_minute_whatever_happens(clock: list[float]) -> None:
    """Prevents hundreds of lines of figures in a nightly log, and an hour without a word."""
    stream = io.StringIO()
    progress = Progress([Console(stream)], every_seconds=0.0)
    for step in range(600):  # ten minutes of ten epochs with their validations
        clock[0] += 1.0
        progress.advance("recommender, round 1", step + 1, 600, force=step == 599)
        if step % 60 == 59:
            progress.metrics({"recommender/loss": 3.0 - step / 300, "recommender/grad_norm": 1.0}, step=step)
            for user in range(5):
                progress.advance("recommend", user + 1, 5, force=user == 4)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[1] == "recommender, round 1: 120/600, 480 s left, loss 2.803"


def test_short_stages_say_nothing_and_notes_are_lines(clock: list[float]) -> None:
    """Prevents a line for each task of a second, and a note that a task swallows."""
    stream = io.StringIO()
    progress = Progress([Console(stream)], every_seconds=0.0)
    for _ in progress.track(range(1000), "write IDs"):
        clock[0] += 0.01
    progress.metrics({"index/churn": 1.0}, step=3)
    progress.note("phase 1 of 3")
    assert stream.getvalue() == "phase 1 of 3\n"


def test_what_is_left_is_told_from_the_steps_of_this_run(clock: list[float]) -> None:
    """Prevents "0 s left" in the middle of an hour: after a resume, and after a validation that came between."""
    stream = io.StringIO()
    console = Console(stream)

    def tell(seconds: float, task: str, done: int, total: int = 1000) -> str:
        clock[0] += seconds
        before = stream.tell()
        console.emit("progress", {"task": task, "done": done, "total": total})
        return stream.getvalue()[before:]

    assert tell(60, "train", 400) == "train: 400/1000\n"  # 400 before this run: nothing is known of its speed
    assert tell(100, "train", 500) == "train: 500/1000, 500 s left\n"
    assert tell(0, "validate", 0, 10) == ""
    assert tell(80, "validate", 10, 10) == "validate: 10/10, 80.0 s\n"
    assert tell(250, "train", 800) == "train: 800/1000, 215 s left\n"
    assert tell(80, "train", 1000) == "train: 1000/1000, 510.0 s\n"
    assert tell(3, "validate", 0, 10) == ""
    assert tell(60, "validate", 5, 10) == "validate: 5/10, 60 s left\n"


def test_figures_stand_beside_what_they_are_of(clock: list[float]) -> None:
    """Prevents the loss of the last round beside this one, or that of the generator beside the recommender."""
    stream = io.StringIO()
    console = Console(stream)

    def tell(task: str, done: int) -> str:
        clock[0] += 60
        before = stream.tell()
        console.emit("progress", {"task": task, "done": done, "total": 9})
        return stream.getvalue()[before:].rpartition("left")[2]

    tell("recommender, round 1", 0)
    console.emit("metrics", {"values": {"recommender/loss": 2.5, "recommender/valid_ndcg_at_10": 0.041}, "step": 1})
    assert tell("recommender, round 1", 3) == ", loss 2.5, NDCG@10 0.041\n"
    assert "loss" not in tell("generator, round 2", 0)
    tell("recommender, round 1", 9)
    assert "loss" not in tell("recommender, round 2", 0)
    console.emit("metrics", {"values": {"users_per_s": 149.0}, "step": 1})
    tell("score", 2)
    assert tell("score", 3) == ", users/s 149\n"


def test_a_terminal_has_one_bar_that_never_wraps_and_leaves_no_trace(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a screen full of finished bars, and half bars left by a line that the terminal's edge has broken."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((50, 24)))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress([Console(stream)], every_seconds=0.0)
    progress.metrics({"loss": 2.0}, step=1)
    list(progress.track(range(20), "train"))
    progress.note("phase 1 of 3")
    drawn = stream.getvalue().split("\r\x1b[K")
    assert drawn[-2:] == ["", "phase 1 of 3\n"]
    assert sum("\n" in each for each in drawn) == 1
    assert max(map(len, drawn)) == 49 and "train" in drawn[1]


def test_a_terminal_that_knows_no_colours_is_a_log(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents escape codes in the buffer of an editor."""
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    list(Progress([Console(stream)], every_seconds=0.0).track(range(20), "train"))
    assert stream.getvalue() == ""


def test_a_bar_that_somebody_else_draws_is_left_out(clock: list[float]) -> None:
    """Prevents lines about a task beside the live bar that a flow draws on a terminal."""
    stream = io.StringIO()
    progress = Progress([Console(stream, bars=False)], every_seconds=0.0)
    for _ in progress.track(range(8), "train"):
        clock[0] += 100
    progress.note("phase 1 of 3")
    assert stream.getvalue() == "phase 1 of 3\n"
