"""Progress reaches every sink, and costs little."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from components.progress import ConsoleBar, Follower, JsonLines, Progress, reporting


def test_json_lines_can_be_followed(tmp_path: Path) -> None:
    """Prevents buffered lines: a flow reads the file while the stage runs."""
    path = tmp_path / "deep" / "progress.jsonl"
    with reporting(JsonLines(path)) as progress:
        for number in progress.track(range(3), "epoch 1"):
            progress.metrics({"loss": 1.0 / (number + 1)}, step=number)
            last = json.loads(path.read_text().splitlines()[-1])
            assert last["event"] == "metrics" and last["step"] == number
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0] | {"time": 0} == {"event": "progress", "time": 0, "task": "epoch 1", "done": 0, "total": 3}
    assert [event for event in events if event["event"] == "progress"][-1]["done"] == 3


def test_a_follower_reads_every_event_once(tmp_path: Path) -> None:
    """Prevents half a line that is taken for broken JSON or lost, and events that are told twice."""
    path = tmp_path / "progress.jsonl"
    follower = Follower(path)
    assert follower.new() == []
    with reporting(JsonLines(path)) as progress:
        progress.note("größer")
        assert [event["text"] for event in follower.new()] == ["größer"]
        assert follower.new() == []
    line = (json.dumps({"event": "note", "text": "später"}, ensure_ascii=False) + "\n").encode()
    with path.open("ab", buffering=0) as stream:
        cut = line.index("ä".encode()) + 1  # within a character
        stream.write(line + line[:cut])
        assert [event["text"] for event in follower.new()] == ["später"]
        stream.write(line[cut:])
    assert [event["text"] for event in follower.new()] == ["später"]


def test_resumed_loop_counts_on(tmp_path: Path) -> None:
    """Prevents a resumed training from showing itself at 0 %."""
    path = tmp_path / "p.jsonl"
    with reporting(JsonLines(path)) as progress:
        list(progress.track([1, 2], "epoch", start=8))
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert (events[0]["done"], events[0]["total"], events[-1]["done"]) == (8, 10, 10)


def test_bar_on_a_pipe_is_a_few_lines() -> None:
    """Prevents ten thousand lines in a CI log: start, quarters and end."""
    stream = io.StringIO()
    progress = Progress([ConsoleBar(stream)], every_seconds=0.0)
    list(progress.track(range(1000), "train"))
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 6
    assert lines[-1].startswith("train: 1000/1000")


def test_what_is_left_is_told_from_the_steps_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents "0 s left" in the middle of an hour: after a resume, and after a validation that came between."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    bar = ConsoleBar(stream)

    def tell(seconds: float, task: str, done: int, total: int = 1000) -> str:
        clock[0] += seconds
        before = stream.tell()
        bar.emit("progress", {"task": task, "done": done, "total": total})
        return stream.getvalue()[before:]

    assert tell(0, "train", 400) == "train: 400/1000\n"  # 400 before this run: nothing is known of its speed
    assert tell(100, "train", 500) == "train: 500/1000, 500 s left\n"
    assert tell(0, "validate", 0, 10) == "validate: 0/10\n"
    assert tell(50, "validate", 10, 10) == "validate: 10/10, 50.0 s\n"
    assert tell(250, "train", 800) == "train: 800/1000, 200 s left\n"
    assert tell(80, "train", 1000) == "train: 1000/1000, 480.0 s\n"
    assert tell(3, "validate", 0, 10) == "validate: 0/10\n"
    assert tell(20, "validate", 5, 10) == "validate: 5/10, 20 s left\n"


def test_a_bar_that_somebody_else_draws_is_left_out() -> None:
    """Prevents the log's quarter lines beside the live bar that a flow draws on a terminal."""
    stream = io.StringIO()
    progress = Progress([ConsoleBar(stream, bars=False)], every_seconds=0.0)
    list(progress.track(range(8), "train"))
    progress.note("phase 1 of 3")
    assert stream.getvalue() == "phase 1 of 3\n"


def test_no_sinks_is_fine() -> None:
    assert list(Progress().track([1, 2], "x")) == [1, 2]
