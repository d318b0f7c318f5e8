"""Torchrun ranks: the same bytes, once, whatever dies on the way. Dask workers: tests/flows/test_score.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import BadInput, GateRefused, Interrupted, StageError
from components.processes.torchrun import failure
from components.progress import Progress
from components.scoring import ranks
from components.scoring.ranks import on_ranks, score_rank
from components.scoring.run import score_all
from components.scoring.settings import Scoring, code_fingerprints
from components.scoring.shards import prepare, publish, shard
from tests.scoring.scorings import USERS, content, finished, start, wait_until

ROOT = Path(__file__).resolve().parents[2]

# What Python runs before all else: the first rank waits until the second has ended, and torchrun has looked.
LATE = """
import atexit, os, pathlib, time
ended = pathlib.Path(__file__).with_name("ended")
if os.environ.get("RANK") == "1":
    atexit.register(ended.touch)
while os.environ.get("RANK") == "0" and not ended.exists():
    time.sleep(0.1)
if os.environ.get("RANK") == "0":
    time.sleep(2)
"""


def processes_with(text: str) -> list[int]:
    """Processes of this machine whose command line holds `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
        if text in command:
            found.append(int(folder.name))
    return found


def test_what_a_rank_refuses_reaches_the_caller(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents torchrun's "exitcode: 1" in place of what, where and how to mend."""
    folder = prepare(scoring, Progress())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks.main([str(folder), "--device", "abacus"]) == 2
    with pytest.raises(BadInput, match="unknown device 'abacus'"):
        raise failure(folder, 1)


def test_a_rank_of_several_nodes_takes_the_device_of_the_scoring(
    scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a scoring that said `cpu`, and goes to the GPUs of the nodes that torchrun started by hand."""
    folder = prepare(replace(scoring, device="abacus"), Progress())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks.main([str(folder)]) == 2
    assert "unknown device 'abacus'" in str(failure(folder, 1))


@pytest.mark.parametrize("kind", [BadInput, GateRefused, Interrupted, StageError])
def test_how_a_rank_ended_reaches_the_caller(scoring: Scoring, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """Prevents a refusal (3) or an interrupt (130) of a rank that its command ends with as 1, and tries again."""
    folder = prepare(scoring, Progress())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")

    def fail(*_: object, **__: object) -> None:
        raise kind("found", where="here", mend="so")

    monkeypatch.setattr(ranks, "score_rank", fail)
    assert ranks.main([str(folder)]) == kind.exit_code
    assert type(failure(folder, 1)) is kind


@pytest.mark.slow
def test_ranks_end_with_the_command(scoring: Scoring, warm_server: dict[str, str]) -> None:
    """Prevents ranks that write on, into the folder of the next run, after kill -9 of the command."""
    process = start(scoring, "--workers", "2", "--torchrun", **warm_server)
    wait_until(lambda: len(finished(scoring)) >= 2, process)
    assert processes_with(f"ranks {scoring.folder}")
    process.kill()
    process.wait()
    wait_until(lambda: not processes_with(f"ranks {scoring.folder}"))
    assert len(finished(scoring)) >= 2


@pytest.mark.slow
def test_a_rank_that_ends_long_before_the_other(
    scoring: Scoring, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a rank that dies of its own end, so that torchrun kills those still at work (`score --on torchrun`
    failed wherever ranks did not end together), scores that depend on who computed them, and users lost or doubled
    between ranks. It cannot flake: the first rank begins when the second has ended."""
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "sitecustomize.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "late"))
    assert score_all(scoring, workers=2, progress=Progress(), team=on_ranks).users == USERS
    assert (tmp_path / "late" / "ended").exists()
    assert content(scoring.out) == content(undisturbed)


def test_nodes_that_never_meet(scoring: Scoring, undisturbed: Path) -> None:
    """Prevents shards that no rank, or two, of several nodes take: each knows its number and the count alone."""
    folder = prepare(scoring, Progress())
    assert [score_rank(folder, rank=rank, size=3, device="cpu") for rank in range(3)] == [14, 13, 13]
    assert score_rank(folder, rank=0, size=1) == 0
    publish(folder)
    assert content(scoring.out) == content(undisturbed)


def test_other_code_is_refused(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents one output of two versions of the code, from a node that was not updated."""
    folder = prepare(scoring, Progress())
    monkeypatch.setattr("components.scoring.score.code_fingerprints", lambda: {"recommender/search/search.py": "other"})
    with pytest.raises(BadInput, match="other code"):
        score_rank(folder, rank=0, size=1, device="cpu")
    assert not shard(folder, 0).exists()


def test_the_code_of_all_rooms_that_score_counts() -> None:
    """Prevents one output of two ways to multiply: the networks and the tokenizer are in rooms of their own."""
    rooms = {name.split("/")[0] for name in code_fingerprints()}
    assert rooms == {"networks", "textid", "recommender", "voices", "ranking", "scoring"}
