"""Progress reaches every sink, and costs little."""

from __future__ import annotations

import json
from pathlib import Path

from components.progress import Follower, JsonLines, Progress, reporting


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


def test_no_sinks_is_fine() -> None:
    assert list(Progress().track([1, 2], "x")) == [1, 2]
