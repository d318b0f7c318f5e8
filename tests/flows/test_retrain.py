"""The flow against a real Prefect server: what its UI will say of each stage, and what a person's command returns."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.server

STAGES = ["ingest", "validate", "clean", "train", "index", "evaluate", "register"]


@pytest.fixture(autouse=True)
def against_the_server(prefect_server: Any) -> Iterator[None]:
    """Flows called in this process talk to the session's server."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api, PREFECT_HOME: prefect_server.home}):
        yield


def run(workspace: Path, *, force: bool = False) -> Any:
    from flows.retrain import retrain

    return retrain(str(workspace), force, return_state=True)


def task_runs(server: Any, state: Any) -> list[tuple[str, str, str]]:
    """(stage, kind of state, its name) in order of start, as the server tells them."""
    query = {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}, "sort": "EXPECTED_START_TIME_ASC"}
    return [
        (each["name"], each["state_type"], each["state_name"]) for each in server.post("/task_runs/filter", **query)
    ]


def flow_run(server: Any, state: Any) -> dict[str, Any]:
    return server.get(f"/flow_runs/{state.state_details.flow_run_id}")


def artifacts(server: Any, state: Any) -> dict[str, Any]:
    query = {"artifacts": {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}}
    return {each["key"]: each for each in server.post("/artifacts/filter", **query)}


def settled(server: Any, state: Any, expected: int) -> list[tuple[str, str, str]]:
    """Task runs reach the server as events: wait until all of them have."""
    final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
    server.wait_until(lambda: sum(kind in final for _, kind, _ in task_runs(server, state)) == expected, seconds=30)
    return task_runs(server, state)


def test_seven_tasks_in_order_and_cached_the_second_time(
    prefect_server: Any, mini: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a stage left out, run out of order, or shown as computed although DVC skipped it; a process and two
    seconds for each stage in which nothing changed."""
    first = run(mini.root)
    assert first.is_completed()
    assert settled(prefect_server, first, 7) == [(stage, "COMPLETED", "Completed") for stage in STAGES]
    assert mini.out("register").read_text().startswith("register of evaluate of index of train of clean of")

    from flows import retrain as module

    asked: list[str] = []
    real = module.reproduce
    monkeypatch.setattr(
        module, "reproduce", lambda stage, *rest, **more: asked.append(stage) or real(stage, *rest, **more)
    )
    mini.behave("evaluate", progress=[])
    second = run(mini.root)
    names = [name for _, _, name in settled(prefect_server, second, 7)]
    assert names == ["Cached"] * 5 + ["Completed", "Cached"]
    assert second.message == "7 stages, 6 of them cached"
    assert asked == ["evaluate", "register"], "what follows a stage that ran is asked again"

    asked.clear()
    third = run(mini.root)
    assert settled(prefect_server, third, 7) == [(stage, "COMPLETED", "Cached") for stage in STAGES]
    assert not asked
    mini.out("clean").unlink()
    assert run(mini.root).is_completed() and mini.out("clean").is_file(), "an output that is gone comes back"


def test_a_run_is_named_by_dataset_and_date(prefect_server: Any, mini: Any) -> None:
    """Prevents: a list of nights called finicky-degu and brave-lynx."""
    mini.behave("ingest", exit=2, what="stopped on purpose")
    name = flow_run(prefect_server, run(mini.root))["name"]
    assert re.fullmatch(r"mini \d{4}-\d\d-\d\d \d\d:\d\d", name), name


def test_a_second_retraining_in_a_workspace_is_refused(prefect_server: Any, mini: Any) -> None:
    """Prevents: two runs that take turns with DVC's lock, stage by stage, each on the other's outputs."""
    from flows.holding import retraining
    from flows.retrain import exit_code

    with retraining(mini.root):
        state = run(mini.root)
    assert (state.name, exit_code(state)) == ("Busy", 1) and "another retraining" in state.message
    assert not mini.out("ingest").exists()


def test_killed_runs_are_marked_by_the_next(
    prefect_server: Any, mini: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Prevents: 9 flow runs and 9 tasks that Prefect shows as running for ever after 9 kills. The run of another
    workspace is left alone."""
    mini.behave("train", sleep=120)
    process = subprocess.Popen([sys.executable, "-m", "flows", str(mini.root)], env=prefect_server.environment())
    request.addfinalizer(process.kill)
    prefect_server.wait_until((mini.root / "train.started").exists, seconds=300)
    query = {"flows": {"name": {"any_": ["retrain"]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    (killed,) = [
        each
        for each in prefect_server.post("/flow_runs/filter", **query)
        if each["parameters"]["workspace"] == str(mini.root)
    ]
    tasks = {"flow_runs": {"id": {"any_": [killed["id"]]}}}

    def told() -> bool:
        return [each["state_type"] for each in prefect_server.post("/task_runs/filter", **tasks)].count("RUNNING") == 1

    prefect_server.wait_until(told, seconds=120)
    process.kill()
    process.wait()
    elsewhere = shutil.copytree(mini.root, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".dvc"))
    (elsewhere / ".dvc").mkdir()
    mini.behave("train")
    run(elsewhere)
    prefect_server.wait_until((mini.root / "train.checkpoint").exists, seconds=120)
    assert prefect_server.get(f"/flow_runs/{killed['id']}")["state_type"] == "RUNNING", "that workspace is another"

    assert run(mini.root).is_completed()
    found = prefect_server.get(f"/flow_runs/{killed['id']}")
    assert found["state_type"] == "CRASHED" and "killed" in found["state"]["message"]
    kinds = {each["name"]: each["state_type"] for each in prefect_server.post("/task_runs/filter", **tasks)}
    assert kinds == {"ingest": "COMPLETED", "validate": "COMPLETED", "clean": "COMPLETED", "train": "CRASHED"}


def test_what_the_data_warn_of_stands_in_the_result(prefect_server: Any, mini: Any) -> None:
    """Prevents: a nightly run in green whose data lose their order, said in a file that nobody opens."""
    mini.warn()
    state = run(mini.root)
    assert "3 warnings: 2 of 320 records of the interactions are set aside" in state.message
    assert "few_ties_in_time" in state.message and "outside the training core" in state.message
    assert "- few_ties_in_time: Few users have ties." in artifacts(prefect_server, state)["warnings"]["data"]


def test_what_mlflow_lost_is_registered_again(prefect_server: Any, mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents *Cached* for a version that was deleted with the store: DVC sees registration.json, and no database."""
    import flows.retrain as module

    run(mini.root)
    monkeypatch.setattr(module, "_missing_version", lambda folder, params: "idiom version 1")
    again = run(mini.root)
    assert again.is_completed()
    states = settled(prefect_server, again, 8)
    assert [(stage, name) for stage, _, name in states if stage == "register"] == [
        ("register", "Cached"),
        ("register", "Completed"),
    ]


def test_a_refusal_fails_the_flow_with_the_stages_own_words(prefect_server: Any, mini: Any) -> None:
    """Prevents: stages after a refused one, a refusal tried again, and exit code 1 for everything."""
    from flows.retrain import exit_code

    mini.behave("validate", exit=3, what="sequences are sorted by item code")
    state = run(mini.root)
    assert state.is_failed() and exit_code(state) == 3
    assert "sequences are sorted by item code" in state.message and "mend:" in state.message
    assert settled(prefect_server, state, 2) == [
        ("ingest", "COMPLETED", "Completed"),
        ("validate", "FAILED", "Refused"),
    ]


def test_a_killed_stage_is_tried_again(prefect_server: Any, mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a night lost because the machine ran out of memory once."""
    from flows import retrain as module

    monkeypatch.setattr(module, "run_stage", module.run_stage.with_options(retry_delay_seconds=[0]))
    mini.behave("clean", kill=int(signal.SIGKILL))
    state = run(mini.root)
    assert state.is_completed()
    assert [kind for _, kind, _ in settled(prefect_server, state, 7)] == ["COMPLETED"] * 7


def test_at_its_limit_a_run_saves_and_the_next_goes_on(prefect_server: Any, mini: Any) -> None:
    """Prevents: a training that blocks the GPU for days, and one that loses what it had when it is stopped for that."""
    from flows.retrain import exit_code, retrain

    mini.behave("train", sleep=600)
    state = retrain(str(mini.root), limit_hours=20 / 3600, return_state=True)
    assert (state.name, exit_code(state)) == ("TimedOut", 1)
    assert "the next run goes on from where it was" in state.message
    # Over in a stage before, on a machine with other work: then nothing had to be saved.
    assert (mini.root / "train.checkpoint").exists() == (mini.root / "train.started").exists()
    mini.behave("train")
    assert run(mini.root).is_completed() and mini.out("register").is_file()


def test_progress_of_a_running_stage_is_shown(prefect_server: Any, mini: Any) -> None:
    """Prevents: an hour of training that looks hung in the UI."""
    events = [
        {"event": "progress", "time": 0, "task": "recommender round 1", "done": 30, "total": 120},
        {"event": "metrics", "time": 0, "values": {"recommender/loss": 2.125}, "step": 30},
    ]
    mini.behave("train", progress=events, exit=2, what="stopped on purpose")
    state = run(mini.root)
    shown = artifacts(prefect_server, state)["progress-train"]
    assert (shown["type"], shown["data"]) == ("progress", 25.0)
    assert "recommender round 1" in shown["description"] and "2.125" in shown["description"]


def test_a_server_that_does_not_answer_costs_no_training(prefect_server: Any) -> None:
    """Prevents: a training of hours that ends because one update of its bar was refused, or a log full of it. Bound and
    not listening: nobody else gets the port."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_artifacts import ProgressArtifact

    said: list[str] = []
    shown = ProgressArtifact("silence", said.append)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{taken.getsockname()[1]}/api"}):
            for done in range(3):
                shown.emit("progress", {"task": "epoch", "done": done, "total": 4})
                shown.update(force=True)
    assert len(said) == 1 and "ConnectError" in said[0]
    shown.close()
    (found,) = prefect_server.post("/artifacts/filter", artifacts={"key": {"any_": ["progress-silence"]}})
    assert (found["data"], len(said)) == (50.0, 1)


def test_a_server_that_does_not_answer_costs_no_result(prefect_server: Any) -> None:
    """Prevents: a model that is trained and registered by a flow that then fails over a table in its UI."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_artifacts import publish_result, publish_scores

    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{taken.getsockname()[1]}/api"}):
            publish_result([{"recall@10": 0.1}], "**better**", {"the run": "http://localhost/"}, said.append)
            publish_scores("3 users", said.append)
    assert len(said) == 2 and all("ConnectError" in line for line in said)
    publish_scores("told again", said.append)
    told = prefect_server.post("/artifacts/filter", artifacts={"key": {"any_": ["scores"]}})  # other tests' among them
    assert [each["data"] for each in told if "told" in each["data"]] == ["```\ntold again\n```"]
    assert len(said) == 2


def test_an_error_of_our_own_is_not_taken_for_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a bug that is told as a server that does not answer."""
    from flows.prefect_artifacts import ProgressArtifact

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", fail)
    with pytest.raises(ValueError, match="a bug"):
        ProgressArtifact("bug", print).emit("progress", {"task": "epoch", "done": 1, "total": 4})


def test_ctrl_c_of_retrain_is_told_to_the_server(prefect_server: Any, mini: Any) -> None:
    """Prevents: a run that shows as running for ever, and a command that ends before the checkpoint is saved."""
    mini.behave("train", sleep=120)
    command = [sys.executable, "-m", "flows.cli", "retrain", "--workspace", str(mini.root)]
    process = subprocess.Popen(command, env=prefect_server.environment(), stderr=subprocess.PIPE, text=True)
    prefect_server.wait_until((mini.root / "train.started").exists, seconds=60)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert (mini.root / "train.checkpoint").exists()
    query = {"flow_runs": {"state": {"type": {"any_": ["CANCELLED"]}}}}
    messages = [run["state"]["message"] for run in prefect_server.post("/flow_runs/filter", **query)]
    assert any("train: stopped; the checkpoint is saved" in message for message in messages)


def test_catalogues_are_read_side_by_side_and_cached_each(prefect_server: Any, mini: Any) -> None:
    """Prevents: a shop that waits for all others, a task that another one's lock of DVC ends, a catalogue whose failure
    is not the run's, and a training that begins before all have been read."""
    mini.add_catalogues("toys")
    for name in ("ingest", "ingest-of-toys"):
        mini.behave(name, progress=[{"event": "note", "text": "reads"}], pause=3)
    first = run(mini.root)
    assert first.is_completed() and first.message == "8 stages, 0 of them cached"
    settled(prefect_server, first, 8)
    asked = {"flow_runs": {"id": {"any_": [flow_run(prefect_server, first)["id"]]}}}
    found = prefect_server.post("/task_runs/filter", **asked)
    spans = {each["name"]: (each["start_time"], each["end_time"]) for each in found}
    both = [spans["ingest"], spans["ingest-of@toys"]]
    assert max(start for start, _ in both) < min(end for _, end in both), "one began after the other's end"
    assert max(end for _, end in both) <= spans["train"][0]

    mini.behave("ingest-of-toys", exit=2, what="no such shop")
    failed = run(mini.root)
    assert failed.name == "BadInput" and "no such shop" in failed.message
    names = {name: state for name, _, state in settled(prefect_server, failed, 2)}
    assert names == {"ingest": "Cached", "ingest-of@toys": "BadInput"}


def test_ctrl_c_reaches_all_that_run_side_by_side(prefect_server: Any, mini: Any) -> None:
    """Prevents: a command that ends while the stages of other catalogues go on, which threads look after."""
    mini.add_catalogues("toys")
    names = ("ingest", "ingest-of-toys")
    for name in names:
        mini.behave(name, sleep=120)
    command = [sys.executable, "-m", "flows.cli", "retrain", "--workspace", str(mini.root)]
    process = subprocess.Popen(command, env=prefect_server.environment(), stderr=subprocess.PIPE, text=True)
    prefect_server.wait_until(lambda: all((mini.root / f"{name}.started").exists() for name in names), seconds=100)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert all((mini.root / f"{name}.checkpoint").exists() for name in names), said


def test_a_killed_retrain_leaves_nothing_behind(prefect_server: Any, mini: Any) -> None:
    """Prevents: a flow without its command that trains on beside the one that a person starts next."""
    mini.behave("train", sleep=120)
    command = [sys.executable, "-m", "flows.cli", "retrain", "--workspace", str(mini.root)]
    process = subprocess.Popen(command, env=prefect_server.environment(), stderr=subprocess.PIPE, text=True)
    prefect_server.wait_until((mini.root / "train.started").exists, seconds=60)
    time.sleep(0.2)
    process.kill()
    _, said = process.communicate(timeout=60)  # until the last of them has closed its standard error
    assert process.returncode == -signal.SIGKILL
    assert (mini.root / "train.checkpoint").exists(), said
    assert "the checkpoint is saved" in said


def test_a_folder_that_is_no_workspace_is_refused(mini: Any) -> None:
    """Prevents: a wrong path from the UI's form that ends in a traceback, or runs something else."""
    from flows.retrain import exit_code

    state = run(mini.root / "artifacts")
    assert state.is_failed() and exit_code(state) == 2
    assert "not a workspace" in state.message


def test_the_start_of_a_training_is_a_parameter_of_the_flow(prefect_server: Any, mini: Any) -> None:
    """Prevents a schedule that cannot go on from the champion, a first night that fails for want of one, and a person
    who asked for a champion and gets a training without."""
    from flows.retrain import retrain

    for start in ("scratch", "champion-if-any"):
        state = retrain(str(mini.root), start=start, return_state=True)
        assert state.is_completed()
    state = retrain(str(mini.root), start="champion", return_state=True)
    assert state.name == "BadInput" and "is no version or alias" in state.message
