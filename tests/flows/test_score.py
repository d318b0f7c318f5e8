"""Bulk scoring as a flow on a real Prefect server, on Dask too: what the server tells, and the bytes of any team."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import BadInput
from components.progress import Progress
from components.registry.bundle import assemble
from components.scoring.run import Summary, score_all
from components.scoring.settings import Scoring
from components.scoring.shards import prepare, shard
from components.settings.file import load
from components.textid.words.tokenizer import train_tokenizer
from flows.score import in_words, scoring_of, team_of
from tests.networks.seq2seq_models import make_seq2seq
from tests.recommender.pairs import WORDS, save_pair
from tests.registry.workspace import build_of
from tests.scoring.scorings import USERS, children, content, finished, histories, score_here, wait_until

pytestmark = pytest.mark.server

SETTINGS: dict[str, Any] = {"k": 3, "shard_users": 4, "device": "cpu"}
SHARDS = USERS // 4


@dataclass(frozen=True)
class Night:
    """A workspace with a bundle, a file of histories, and an output of its own."""

    root: Path
    bundle: Path
    histories: Path
    out: Path

    def scoring(self) -> Scoring:
        """What `score` makes of the parameters below."""
        params = load(self.root / "params.yaml")
        return scoring_of(self.root, params, self.histories, self.out, bundle=self.bundle, settings=SETTINGS)

    def parameters(self, **others: Any) -> dict[str, Any]:
        paths = {"workspace": self.root, "histories": self.histories, "out": self.out, "bundle": self.bundle}
        return {**{name: str(path) for name, path in paths.items()}, **SETTINGS, **others}

    def command(self, *arguments: str) -> list[str]:
        """The same as a person types it."""
        given = ["--workspace", self.root, "--out", self.out, "--bundle", self.bundle, "-k", 3, "--shard-users", 4]
        given += ["--device", "cpu"]
        return [sys.executable, "-m", "flows.cli", "score", str(self.histories), *map(str, given), *arguments]


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """An untrained pair, bundled: which items it names does not matter, that all name the same does."""
    folder = tmp_path_factory.mktemp("night")
    tokenizer = train_tokenizer(list(WORDS.values()), vocabulary_size=64)
    pair = save_pair(folder / "pair", lambda size, *, seed, kind: make_seq2seq(kind, size, seed=seed), tokenizer)
    layout, params = build_of(folder / "workspace", pair, evaluate={"beams": 4})
    table, source = histories(), folder / "histories.parquet"
    pq.write_table(pa.table({"user_id": list(table), "history": list(table.values())}), source)
    (layout.workspace / ".dvc").mkdir()
    (layout.workspace / "dvc.yaml").write_text("stages: {}\n")
    (layout.workspace / "params.yaml").write_text("dataset: tiny\n")
    return Night(layout.workspace, assemble(layout, params), source, folder / "scores")


def test_more_items_than_beams_are_searched_with_more_and_that_is_said(bundled: Night) -> None:
    """Prevents: scores of another search than the evaluated one, in a folder whose manifest says the evaluated one."""
    root = bundled.root
    settings = {**SETTINGS, "k": 6}
    params = load(root / "params.yaml")
    scoring = scoring_of(root, params, bundled.histories, bundled.out, bundle=bundled.bundle, settings=settings)
    assert (bundled.scoring().beams, scoring.beams) == (4, 6)
    counted = dict.fromkeys(("users", "recommendations", "users_without_known_items", "unknown_items"), 0)
    said = {k: in_words(Summary(counted, 0, 1.0), each) for k, each in ((3, bundled.scoring()), (6, scoring))}
    assert "6 beams instead of the 4 of the evaluation" in said[6] and "beams" not in said[3]


@pytest.fixture(scope="module")
def undisturbed(bundled: Night) -> dict[str, bytes]:
    """What comes of it in one process, shard after shard."""
    return content(score_here(replace(bundled, out=bundled.out.with_name("undisturbed")).scoring()))


@pytest.fixture
def night(bundled: Night, tmp_path: Path) -> Night:
    return replace(bundled, out=tmp_path / "scores")


@pytest.fixture
def against_the_server(prefect_server: Any) -> Iterator[None]:
    """Flows called in this process talk to the session's server."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api, PREFECT_HOME: prefect_server.home}):
        yield


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """A scheduler with two workers of one thread, each a process under its nanny."""
    distributed = pytest.importorskip("distributed", reason="pip install -c constraints.txt -e '.[dask]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def run(night: Night, **others: Any) -> Any:
    from flows.score_flow import score

    return score(**night.parameters(**others), return_state=True)


def flow_run(state: Any) -> dict[str, Any]:
    return {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}}


def tasks(server: Any, state: Any) -> list[tuple[str, str]]:
    """(task, name of its state), as the server tells them."""
    return sorted((each["name"], each["state_name"]) for each in server.post("/task_runs/filter", **flow_run(state)))


def settled(server: Any, state: Any, expected: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Task runs reach the server as events: wait until all of them have."""
    server.wait_until(lambda: tasks(server, state) == sorted(expected), seconds=60)
    return tasks(server, state)


def when(condition: Callable[[], Any], action: Callable[[], None]) -> threading.Thread:
    """Do something once, beside a flow that runs here."""

    def watch() -> None:
        wait_until(condition)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_shard_is_a_task_and_that_of_a_killed_worker_is_done_again(
    night: Night, undisturbed: dict[str, bytes], prefect_server: Any, against_the_server: None, dask_address: str
) -> None:
    """Prevents a night that ends with one worker's kill -9, that Prefect shows as one dark hour, or whose scores depend
    on who computed them. It cannot flake: 38 shards are left when the worker is killed, and what it did not come to
    tell the server is told by the flow."""
    from distributed import Client

    scoring, killed = night.scoring(), list[int]()

    def kill() -> None:
        os.kill(worker, signal.SIGKILL)
        killed.append(len(finished(scoring)))

    with Client(dask_address, set_as_default=False) as client:
        worker = min(client.run(os.getpid).values())
        watching = when(lambda: len(finished(scoring)) >= 2, kill)
        state = run(night, team="dask", dask=dask_address)
        watching.join()
        assert worker not in client.run(os.getpid).values()
    assert state.is_completed() and state.message.startswith(f"{USERS} users in"), state.message
    assert killed[0] < SHARDS
    assert content(night.out) == undisturbed
    shards = [(f"shard {number}", "Completed") for number in range(SHARDS)]
    settled(prefect_server, state, [("all users", "Completed"), *shards])


@pytest.mark.slow
def test_shards_of_which_the_server_never_heard_are_told_in_the_end(
    night: Night, prefect_server: Any, against_the_server: None, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents shards that are shown as running for ever, or not at all, as their worker was killed before it told."""
    from distributed import Client
    from prefect.events.worker import EventsWorker

    def mute(*events: str) -> None:
        send = EventsWorker.told = EventsWorker.send  # type: ignore[attr-defined]
        heard: Any = lambda self, event: None if event.event in events else send(self, event)  # noqa: E731
        EventsWorker.send = heard  # type: ignore[method-assign]

    def unmute() -> None:
        EventsWorker.send = EventsWorker.told  # type: ignore[attr-defined, method-assign]

    monkeypatch.setattr("flows.dask_team._LAST_WORDS_SECONDS", 1.0)
    with Client(dask_address, set_as_default=False) as client:
        client.wait_for_workers(2)  # one is started anew where another test has killed it
        one, other = client.scheduler_info()["workers"]
        states = [f"prefect.task-run.{name}" for name in ("Pending", "Running", "Completed")]
        client.run(mute, *states, workers=[one])
        client.run(mute, states[-1], workers=[other])
        try:
            state = run(night, team="dask", dask=dask_address)
        finally:
            client.run(unmute)
    assert state.is_completed(), state.message
    shards = [(f"shard {number}", "Completed") for number in range(SHARDS)]
    assert settled(prefect_server, state, [("all users", "Completed"), *shards])


@pytest.mark.slow
def test_what_a_dask_worker_refuses_reaches_the_caller(
    night: Night, prefect_server: Any, against_the_server: None, dask_address: str
) -> None:
    """Prevents a traceback of Dask in place of what, where and how to mend, and a bad input that is tried again."""
    from flows.retrain import exit_code

    state = run(night, team="dask", dask=dask_address, device="abacus", shard_users=USERS)
    assert state.is_failed() and exit_code(state) == 2
    assert "unknown device 'abacus'" in state.message and "mend:" in state.message
    settled(prefect_server, state, [("all users", "BadInput"), ("shard 0", "Failed")])


@pytest.mark.slow
def test_by_processes_a_killed_worker_is_tried_again_and_progress_is_shown(
    night: Night,
    undisturbed: dict[str, bytes],
    prefect_server: Any,
    against_the_server: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prevents a scheduled night lost to one kill -9, and users scored again that were scored."""
    from flows import score_flow

    monkeypatch.setattr(score_flow, "score_users", score_flow.score_users.with_options(retry_delay_seconds=[0]))
    scoring, kept = night.scoring(), {}

    def kill() -> None:
        (worker,) = children(os.getpid())
        os.kill(worker, signal.SIGKILL)
        kept.update(finished(scoring))

    watching = when(lambda: len(finished(scoring)) >= 2, kill)
    state = run(night, workers=1)
    watching.join()
    assert state.is_completed(), state.message
    assert content(night.out) == undisturbed
    inodes = {number: (night.out / f"part-{number:06d}.parquet").stat().st_ino for number in kept}
    assert inodes == kept
    artifacts = prefect_server.post("/artifacts/filter", **flow_run(state))
    shown = [each for each in artifacts if each["key"] == "progress-score"]  # one for each try
    assert [each["description"].startswith(f"**score** {USERS}/{USERS}") for each in shown].count(True) == 1
    assert max(each["data"] for each in shown) == 100.0
    assert [str(night.out) in each["data"] for each in artifacts if each["key"] == "scores"] == [True]

    again = run(night, workers=1)
    assert again.name == "Cached" and "nothing to do" in again.message


@pytest.mark.slow
def test_ctrl_c_on_dask_and_gone_on_with_by_torchrun(night: Night, undisturbed: dict[str, bytes]) -> None:
    """Prevents, for who types it: Dask workers that score on after Ctrl-C, and shards lost, or scored twice, when a
    night is begun by one team and ended by another. Without a server the flow has one of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    scoring = night.scoring()
    command = night.command("--on", "dask", "--workers", "1")
    process = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: len(finished(scoring)) >= 2, process)
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "finished shards are kept" in said and not night.out.exists()
    kept = finished(scoring)

    done = subprocess.run(night.command("--on", "torchrun", "--workers", "2"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{USERS - 4 * len(kept)} users in"), done.stdout
    assert content(night.out) == undisturbed
    inodes = {number: (night.out / f"part-{number:06d}.parquet").stat().st_ino for number in kept}
    assert inodes == kept


def test_a_shard_is_tried_again_when_the_storage_hiccups(
    night: Night, against_the_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a night lost to one stale handle of a network file system; a bug must fail at once."""
    from components.scoring import score as module
    from flows.dask_team import score_one

    errors: list[Exception] = []
    score_shard = module.score_shard

    def sometimes(*given: Any, **settings: Any) -> dict[str, int]:
        if errors:
            raise errors.pop()
        return score_shard(*given, **settings)

    monkeypatch.setattr(module, "score_shard", sometimes)
    folder = prepare(night.scoring(), Progress())
    at_once = score_one.with_options(retry_delay_seconds=[0])
    errors += [OSError(errno.ESTALE, "Stale file handle")]
    assert at_once(str(folder), 0, "cpu", return_state=True).is_completed()
    assert shard(folder, 0).is_dir()
    errors += [ValueError("a bug"), ValueError("the same bug")]
    assert at_once(str(folder), 1, "cpu", return_state=True).is_failed()
    assert len(errors) == 1


def test_a_server_that_is_gone_at_the_end_costs_no_scores(caplog: pytest.LogCaptureFixture) -> None:
    """Prevents a night that fails though all its scores are there, or hides why it failed, as Prefect is silent."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
    from prefect.states import Completed

    from flows.dask_team import _settle

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: nowhere, PREFECT_CLIENT_MAX_RETRIES: 0}):
            _settle({uuid4(): (0, Completed())})
    assert "was not told" in caplog.text


def test_no_scheduler(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a traceback of a socket for a mistyped address."""
    pytest.importorskip("prefect_dask")
    monkeypatch.setattr("flows.dask_team._CONNECT_SECONDS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match="no Dask scheduler answers"):
            score_all(night.scoring(), workers=1, progress=Progress(), team=team_of("dask", address))


def test_without_dask(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an ImportError for who has not installed the extra."""
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(BadInput, match="Dask is not installed"):
        score_all(night.scoring(), workers=1, progress=Progress(), team=team_of("dask"))


def test_the_workspace_is_not_replaced(night: Night) -> None:
    """Prevents scores in place of the workspace that they are made in, where it lies in an old output."""
    night.out.mkdir()
    (night.out / "manifest.json").write_text('{"kind": "scores"}')
    inside = shutil.copytree(night.root, night.out / "workspace")
    with pytest.raises(BadInput, match=r"would replace .*workspace"):
        replace(night, root=inside).scoring()


@pytest.mark.parametrize(("on", "address", "said"), [("dsk", None, "'dsk'"), ("torchrun", "tcp://a:1", "--on dask")])
def test_a_team_that_is_none(on: str, address: str | None, said: str) -> None:
    """Prevents a misspelt --on that scores here and alone."""
    with pytest.raises(BadInput, match=said):
        team_of(on, address)
