"""Whoever scores, Dask workers or torchrun ranks: the same bytes, once, whatever dies on the way."""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput, Interrupted
from components.progress import Progress
from components.recommender.bulk import ranks
from components.recommender.bulk.ranks import score_rank
from components.recommender.bulk.run import score_all
from components.recommender.bulk.settings import Scoring, code_fingerprints
from components.recommender.bulk.shards import prepare, publish, shard
from flows.dask_team import on_dask
from flows.score import team_of
from tests.recommender.bulk.scorings import USERS, content, finished, score_here, start, wait_until

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """A scheduler with two workers of one thread, each a process under its nanny."""
    distributed = pytest.importorskip("distributed", reason="pip install -c constraints.txt -e '.[dask]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.parametrize("on", ["dask", "torchrun"])
def test_every_team_writes_the_same(
    scoring: Scoring, undisturbed: Path, on: str, request: pytest.FixtureRequest
) -> None:
    """Prevents scores that depend on who computed them, and users lost or doubled between workers."""
    team = team_of(on, request.getfixturevalue("dask_address") if on == "dask" else None)
    done = score_all(scoring, workers=2, progress=Progress(), team=team)
    assert done.users == USERS
    assert content(scoring.out) == content(undisturbed)


@pytest.mark.slow
def test_what_a_dask_worker_refuses_reaches_the_caller(scoring: Scoring, dask_address: str) -> None:
    """Prevents a traceback of Dask in place of what, where and how to mend."""
    team = functools.partial(on_dask, address=dask_address)
    with pytest.raises(BadInput, match="unknown device 'abacus'"):
        score_all(replace(scoring, device="abacus"), workers=2, progress=Progress(), team=team)


def test_what_a_rank_refuses_reaches_the_caller(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents torchrun's "exitcode: 1" in place of what, where and how to mend."""
    folder = prepare(scoring, Progress())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks.main([str(folder), "--device", "abacus"]) == 2
    with pytest.raises(BadInput, match="unknown device 'abacus'"):
        raise ranks._failure(folder, 1)


@pytest.mark.slow
def test_stopped_and_gone_on_with_by_others(scoring: Scoring, undisturbed: Path, dask_address: str) -> None:
    """Prevents shards that are lost, or scored twice, when a night is begun by one team and ended by another."""
    team = functools.partial(on_dask, address=dask_address)
    with pytest.raises(Interrupted):
        score_all(scoring, workers=2, progress=Progress(), stopped=lambda: len(finished(scoring)) >= 2, team=team)
    kept = finished(scoring)
    assert len(kept) >= 2 and not scoring.out.exists()
    score_here(scoring)
    assert content(scoring.out) == content(undisturbed)
    published = {number: (scoring.out / f"part-{number:06d}.parquet").stat().st_ino for number in kept}
    assert published == kept  # not written again


@pytest.mark.slow
def test_the_shard_of_a_killed_dask_worker_is_scored_again(
    scoring: Scoring, undisturbed: Path, dask_address: str
) -> None:
    """Prevents a night that ends with one worker's kill -9. It cannot flake: 40 shards are left when it is killed."""
    from distributed import Client

    with Client(dask_address) as client:
        killed = min(client.run(os.getpid).values())
        steps = iter(on_dask(folder := prepare(scoring, Progress()), range(USERS // 4), **_alone, address=dask_address))
        next(steps)  # all tasks are submitted with the next word
        os.kill(killed, signal.SIGKILL)
        assert sorted(step.number for step in steps if step.done) == list(range(USERS // 4))
    publish(folder)
    assert content(scoring.out) == content(undisturbed)


_alone: dict[str, Any] = {"workers": 2, "device": "cpu", "stopped": lambda: False}


@pytest.mark.slow
def test_ranks_end_with_the_command(scoring: Scoring) -> None:
    """Prevents ranks that write on, into the folder of the next run, after kill -9 of the command."""
    process = start(scoring, "--workers", "2", "--torchrun")
    wait_until(lambda: len(finished(scoring)) >= 2, process)
    assert processes_with(f"ranks {scoring.folder}")
    process.kill()
    process.wait()
    wait_until(lambda: not processes_with(f"ranks {scoring.folder}"))
    assert len(finished(scoring)) >= 2


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
    monkeypatch.setattr(
        "components.recommender.bulk.score.code_fingerprints", lambda: {"recommender/decoding/search.py": "other"}
    )
    with pytest.raises(BadInput, match="other code"):
        score_rank(folder, rank=0, size=1, device="cpu")
    assert not shard(folder, 0).exists()


def test_the_code_of_both_rooms_that_score_counts() -> None:
    """Prevents one output of two ways to multiply: the linear layers and the tokenizer are in `textid`."""
    assert {
        "recommender/decoding/search.py",
        "textid/networks/linear.py",
        "textid/words/tokenizer.py",
    } <= code_fingerprints().keys()


def test_no_scheduler(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a traceback of a socket for a mistyped address."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("flows.dask_team._CONNECT_SECONDS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match="no Dask scheduler answers"):
            score_all(scoring, workers=1, progress=Progress(), team=functools.partial(on_dask, address=address))


def test_without_dask(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an ImportError for who has not installed the extra."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match="Dask is not installed"):
        score_all(scoring, workers=1, progress=Progress(), team=on_dask)


@pytest.mark.parametrize(("on", "address", "said"), [("dsk", None, "'dsk'"), ("torchrun", "tcp://a:1", "--on dask")])
def test_a_team_that_is_none(on: str, address: str | None, said: str) -> None:
    """Prevents a misspelt --on that scores here and alone."""
    with pytest.raises(BadInput, match=said):
        team_of(on, address)
