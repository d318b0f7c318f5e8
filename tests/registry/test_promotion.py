"""Promotion and rollback of aliases: one switch, at most one mover, and the old champion whatever fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput
from components.registry import promotion
from components.registry.champion import CHALLENGER, CHAMPION, DECISION
from components.registry.promotion import HISTORY, PREVIOUS, aliases, one_at_a_time, promote, refuse, roll_back
from components.registry.store import connect

NAME = "shop"


class Failing:
    """A client whose call number `at` raises, before (or after) it was carried out; others are MLflow's own."""

    def __init__(self, client: Any, at: int, *, after: bool = False) -> None:
        self._client, self._left, self._after = client, at, after
        self.done = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            fails = self._left == 0
            if fails and not self._after:
                self.done = True
                raise ConnectionError(f"{name} failed")
            value = method(*arguments, **named)
            if fails:
                self.done = True
                raise ConnectionError(f"{name} failed after it was done")
            return value

        return call


@pytest.fixture
def client(workspace: Path) -> Any:
    """Versions 1 (champion), 2 (challenger), 3 of a model."""
    made = connect(workspace)
    made.create_registered_model(NAME)
    for _ in range(3):
        made.create_model_version(NAME, source=str(workspace))
    made.set_registered_model_alias(NAME, CHAMPION, "1")
    made.set_registered_model_alias(NAME, CHALLENGER, "2")
    return made


def test_promotion_moves_both_aliases_and_says_who(client: Any) -> None:
    """Prevents a champion without a way back, and a move that nobody can account for."""
    promote(client, NAME, "2", expected="1", tags={"idiom.promotion": "accepted"}, why="better by .01")
    assert aliases(client, NAME) == {CHAMPION: "2", PREVIOUS: "1"}
    assert client.get_model_version(NAME, "2").tags["idiom.promotion"] == "accepted"
    (entry,) = json.loads(client.get_registered_model(NAME).tags[HISTORY])
    assert (entry["from"], entry["to"], entry["why"]) == ("1", "2", "better by .01") and "@" in entry["by"]


def test_rollback_goes_to_the_previous_champion_or_to_a_named_one(client: Any) -> None:
    """Prevents a rollback that cannot be undone, goes nowhere, or leaves no trace."""
    promote(client, NAME, "2", expected="1", tags={}, why="first")
    assert roll_back(client, NAME, None, why="sales fell") == ("2", "1")
    assert aliases(client, NAME) == {CHAMPION: "1", PREVIOUS: "2"}
    assert roll_back(client, NAME, "3", why="try") == ("1", "3")
    assert [each["to"] for each in json.loads(client.get_registered_model(NAME).tags[HISTORY])] == ["3", "1", "2"]
    with pytest.raises(BadInput, match="version 3 is the champion"):
        roll_back(client, NAME, "3", why="again")
    client.delete_registered_model_alias(NAME, PREVIOUS)
    with pytest.raises(BadInput, match="no previous champion"):
        roll_back(client, NAME, None, why="")
    with pytest.raises(BadInput, match="no model 'other'"):
        roll_back(client, "other", None, why="")


def test_a_refused_version_is_the_challenger_with_its_reasons(client: Any) -> None:
    """Prevents a refusal that nobody sees on the version, and a refused version that takes the champion's alias."""
    refuse(client, NAME, "3", tags={"idiom.promotion": "refused"})
    assert aliases(client, NAME) == {CHAMPION: "1", CHALLENGER: "3"}
    assert client.get_model_version(NAME, "3").tags["idiom.promotion"] == "refused"
    refuse(client, NAME, "1", tags={})
    assert aliases(client, NAME)[CHAMPION] == "1" and aliases(client, NAME)[CHALLENGER] == "3"


def test_a_refusal_leaves_the_alias_to_a_newer_version_that_waits(client: Any) -> None:
    """Prevents a version that was registered while another one was judged from never being judged: `undecided` goes by
    the alias."""
    client.set_registered_model_alias(NAME, CHALLENGER, "3")
    refuse(client, NAME, "2", tags={DECISION: "refused"})
    assert aliases(client, NAME)[CHALLENGER] == "3"
    client.set_model_version_tag(NAME, "3", DECISION, "refused")
    refuse(client, NAME, "2", tags={DECISION: "refused"})
    assert aliases(client, NAME)[CHALLENGER] == "2"


def test_ctrl_c_at_the_switch_leaves_all_as_it_was(client: Any) -> None:
    """Prevents a history of a move that was not made, and a challenger without its alias, after Ctrl-C."""

    class Interrupted(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "get_model_version_by_alias":
                raise KeyboardInterrupt
            return getattr(self._client, name)

    before = aliases(client, NAME)
    with pytest.raises(KeyboardInterrupt):
        promote(Interrupted(client, 0), NAME, "2", expected="1", tags={DECISION: "accepted"}, why="")  # type: ignore[arg-type]
    assert aliases(client, NAME) == before
    assert json.loads(client.get_registered_model(NAME).tags[HISTORY]) == []
    assert client.get_model_version(NAME, "2").tags == {}


def test_a_champion_that_was_deleted_is_rolled_back_from(client: Any) -> None:
    """Prevents: nobody is served after the champion was deleted in MLflow, and the way back asks for a version that was
    named."""
    promote(client, NAME, "2", expected="1", tags={}, why="first")
    client.delete_model_version(NAME, "2")
    assert CHAMPION not in aliases(client, NAME), "MLflow takes the alias away with the version"
    assert roll_back(client, NAME, None, why="it was deleted") == (None, "1")
    assert aliases(client, NAME)[CHAMPION] == "1"
    client.delete_registered_model_alias(NAME, CHAMPION)
    assert roll_back(client, NAME, "3", why="by number") == (None, "3")


def test_a_long_name_of_a_reviewer_does_not_cost_the_history(client: Any) -> None:
    """Prevents a record that is lost, all of it, to a name that does not fit the tag."""
    roll_back(client, NAME, "3", why="first")
    promote(client, NAME, "2", expected="3", tags={}, why="ü" * 400, by="ö" * 6000)
    found = json.loads(client.get_registered_model(NAME).tags[HISTORY])
    assert found[0]["to"] == "2" and found[0]["by"].startswith("öö")


def test_the_history_stays_short(client: Any) -> None:
    """Prevents the hundredth promotion from failing at the length of a tag."""
    for number in range(30):
        roll_back(client, NAME, str(2 + number % 2), why=f"{number} " + "x" * 500)
    text = client.get_registered_model(NAME).tags[HISTORY]
    assert len(text) < 5000 and json.loads(text)[0]["why"].startswith("29 ")


def test_it_was_compared_with_the_champion_that_there_is(client: Any) -> None:
    """Prevents a version that beat an old champion from replacing a better one that was promoted meanwhile."""
    with pytest.raises(BadInput, match="version 1 by now, it was compared with 3"):
        promote(client, NAME, "2", expected="3", tags={}, why="")
    assert aliases(client, NAME) == {CHAMPION: "1", CHALLENGER: "2"}


@pytest.mark.parametrize("after", [False, True])
def test_whichever_call_fails_the_old_champion_stays(client: Any, after: bool) -> None:
    """Prevents half a promotion: every call in turn fails, before and after it was carried out.

    What remains is all of the old state, or (the lock could not be given back, and no more) all of the new one.
    """
    before, kept = aliases(client, NAME), []
    for at in range(1, 30):
        failing = Failing(client, at, after=after)
        try:
            with one_at_a_time(failing, NAME, who="me"):  # type: ignore[arg-type]
                promote(failing, NAME, "2", expected="1", tags={DECISION: "accepted"}, why="", reasons=["it is better"])  # type: ignore[arg-type]
            ended = True
        except ConnectionError:
            ended = False
        if ended and failing.done:
            assert aliases(client, NAME) == {CHAMPION: "2", PREVIOUS: "1"}
        elif not ended:
            kept.append(at)
            assert aliases(client, NAME) == before, f"call {at}"
            assert json.loads(client.get_registered_model(NAME).tags.get(HISTORY, "[]")) == []
            version = client.get_model_version(NAME, "2")
            assert (version.tags, version.description or "") == ({}, ""), f"call {at}: the next flow judges it again"
        for each in client.search_registered_models():
            if each.name != NAME:
                client.delete_registered_model(each.name)
        if not failing.done:
            break
        for alias in aliases(client, NAME):
            client.delete_registered_model_alias(NAME, alias)
        for alias, version in before.items():
            client.set_registered_model_alias(NAME, alias, version)
        client.set_registered_model_tag(NAME, HISTORY, "[]")
    assert len(kept) >= 9 and not failing.done, "every call was tried"


def test_a_store_that_says_something_else_is_not_believed(client: Any) -> None:
    """Prevents a promotion that is reported and did not happen."""

    class Deaf(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "set_registered_model_alias":
                return lambda *arguments: None
            return getattr(self._client, name)

    with pytest.raises(BadInput, match="MLflow says that the champion is version 1"):
        promote(Deaf(client, 0), NAME, "2", expected="1", tags={}, why="")  # type: ignore[arg-type]
    assert aliases(client, NAME)[CHAMPION] == "1"


def test_one_at_a_time(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents two promotions that interleave, a lock that stays, and one that a killed process keeps for ever."""
    with one_at_a_time(client, NAME, who="ada"):
        with pytest.raises(BadInput, match="another promotion is at work: ada"), one_at_a_time(client, NAME, who="bob"):
            raise AssertionError("two at a time")
        monkeypatch.setattr(promotion, "_STALE_SECONDS", -1)
        with one_at_a_time(client, NAME, who="bob"):
            pass
        monkeypatch.undo()
    with one_at_a_time(client, NAME, who="cem"):
        pass


def test_a_lock_that_was_taken_over_is_not_given_back_by_who_had_it(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a third promotion beside the one that took the lock over from one that was slow, not dead."""
    slow = ExitStack()
    slow.enter_context(one_at_a_time(client, NAME, who="ada"))
    monkeypatch.setattr(promotion, "_STALE_SECONDS", -1)
    with one_at_a_time(client, NAME, who="bob"):
        monkeypatch.undo()
        slow.close()
        with pytest.raises(BadInput, match="another promotion is at work: bob"), one_at_a_time(client, NAME, who="cem"):
            raise AssertionError("two at a time")


def test_of_two_that_take_a_lock_over_at_once_one_moves(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents two promotions at once after a killed one: both find its lock old, the slower one deletes that of the
    faster one, which is told before it moves anything."""
    with one_at_a_time(client, NAME, who="ada") as refuse_if_lost:
        refuse_if_lost()
        monkeypatch.setattr(promotion, "_STALE_SECONDS", -1)
        with one_at_a_time(client, NAME, who="bob") as bob:
            with pytest.raises(BadInput, match="another promotion took the lock over"):
                refuse_if_lost()
            bob()


def test_a_lock_that_is_given_back_while_it_is_asked_for(client: Any) -> None:
    """Prevents: a promotion that ends with a traceback, as MLflow looks a name up that it has just refused and that
    somebody has deleted since."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    class GivenBack(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "create_registered_model" and not self.done:
                self.done = True
                raise MlflowException("not found", error_code=RESOURCE_DOES_NOT_EXIST)
            return getattr(self._client, name)

    asked = GivenBack(client, 0)
    with one_at_a_time(asked, NAME, who="ada"):  # type: ignore[arg-type]
        assert asked.done


_MOVER = """
import sys, time
from pathlib import Path
from components.errors import BadInput
from components.registry.promotion import aliases, one_at_a_time, promote
from components.registry.store import connect
client = connect(Path(sys.argv[1]))
mine, go = sys.argv[2], Path(sys.argv[3])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.01)
moved = 0
for attempt in range(12):
    try:
        with one_at_a_time(client, "shop", who=mine):
            champion = aliases(client, "shop")["champion"]
            if champion != mine:
                promote(client, "shop", mine, expected=champion, tags={}, why=mine)
                moved += 1
    except BadInput as error:
        assert "another promotion" in str(error), error
        time.sleep(0.02)
print(moved, flush=True)
"""


@pytest.fixture
def server(client: Any, workspace: Path) -> Iterator[str]:
    """A real MLflow server on the store of the workspace."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{workspace / 'mlflow.db'}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        command,
        cwd=workspace,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # eight processes that nobody asks
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.server
@pytest.mark.slow
def test_two_processes_never_interleave_on_a_real_server(server: str, workspace: Path) -> None:
    """Prevents two machines that promote at once: each move starts where the one before it ended, and none is lost.

    Cannot flake: it asserts the order of whatever moves happened, not how many.
    """
    go = workspace / "go"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server}
    movers = [
        subprocess.Popen([sys.executable, "-c", _MOVER, str(workspace), version, str(go)], env=environment,
                         stdout=subprocess.PIPE, text=True)
        for version in ("2", "3")
    ]  # fmt: skip
    for mover in movers:
        assert mover.stdout and mover.stdout.readline() == "ready\n"
    go.touch()
    outputs = [mover.communicate(timeout=300)[0] for mover in movers]
    assert [mover.returncode for mover in movers] == [0, 0]
    moved = [int(output) for output in outputs]
    client = connect(workspace)
    moves = json.loads(client.get_registered_model(NAME).tags[HISTORY])
    assert len(moves) == sum(moved) >= 1
    assert [each["from"] for each in moves[:-1]] == [each["to"] for each in moves[1:]]
    assert aliases(client, NAME)[CHAMPION] == moves[0]["to"]
    assert [each.name for each in client.search_registered_models()] == [NAME], "the lock is given back"
