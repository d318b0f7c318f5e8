"""The step of the flow that judges a new challenger, against a real Prefect server; the judge is a line of Python."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A challenger waits, and is accepted; gives what the judge was asked with."""
    import flows.decide
    import flows.promote

    asked: list[list[str]] = []

    def command(workspace: str, version: str, more: Sequence[str]) -> list[str]:
        asked.append([version, *more])
        said = "accepted, and waits for approval" if "--propose" in more else "promoted"
        lines = (
            "WARNING: MLflow kept the lock\n"
            f"version {version} is {said}; the champion was version 1\npage     /shop/page.html\nmlflow   http://m/#/x"
        )
        return [sys.executable, "-c", f"print({lines!r})"]

    monkeypatch.setattr(flows.promote, "undecided", lambda folder, params: "2")
    monkeypatch.setattr(flows.decide, "command", command)
    return asked


def run(server: Any, mini: Any) -> Any:
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from flows.retrain import retrain

    with temporary_settings({PREFECT_API_URL: server.api, PREFECT_HOME: server.home}):
        return retrain(str(mini.root), False, return_state=True)


def artifact(server: Any, state: Any, key: str = "promotion") -> str:
    query = {"artifacts": {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}, "key": {"any_": [key]}}}
    return str(server.post("/artifacts/filter", **query)[0]["data"])


def test_a_new_version_is_judged_after_register(prefect_server: Any, mini: Any, judged: list[list[str]]) -> None:
    """Prevents a better model that stays the challenger until somebody types a command, and a decision nobody sees."""
    state = run(prefect_server, mini)
    assert state.is_completed() and judged == [["2"]]
    assert "; version 2 is promoted; the champion was version 1" in state.message
    assert "version 2 is promoted" in artifact(prefect_server, state)
    assert "(http://m/#/x)" in artifact(prefect_server, state, "link-comparison-with-the-champion")


def test_a_judge_that_fails_fails_no_training(prefect_server: Any, mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a night's training shown as failed because its comparison was, and a failure that is not told."""
    import flows.decide

    said = "import sys; print('error: the champion changed meanwhile'); sys.exit(2)"
    monkeypatch.setattr(flows.decide, "command", lambda *_: [sys.executable, "-c", said])
    state = run(prefect_server, mini)
    assert state.is_completed() and "the champion changed meanwhile" in state.message
    (mini.root / "params.yaml").write_text("dataset: mini\npromote: {automatic: false}\n")
    assert "changed meanwhile" not in run(prefect_server, mini).message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"approve": True, "reviewer": "Ada"}, "version 2 is promoted; the champion was version 1 (approved by Ada)"),
        ({"approve": False, "reviewer": "Ada"}, "version 2 stays the challenger: Ada did not approve it"),
    ],
)
def test_a_reviewer_decides_in_prefects_page(
    prefect_server: Any, mini: Any, judged: list[list[str]], given: dict[str, Any], said: str
) -> None:
    """Prevents a promotion that nobody looked at where somebody has to, and one without a name."""
    (mini.root / "params.yaml").write_text("dataset: mini\npromote: {approval_hours: 1}\n")
    found: list[Any] = []
    flow = threading.Thread(target=lambda: found.append(run(prefect_server, mini)))
    flow.start()
    paused = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}, "parent_task_run_id": {"is_null_": True}}}
    prefect_server.wait_until(lambda: bool(prefect_server.post("/flow_runs/filter", **paused)), seconds=120)
    (waiting,) = prefect_server.post("/flow_runs/filter", **paused)
    prefect_server.post(f"/flow_runs/{waiting['id']}/resume", run_input=given)
    flow.join(120)
    (state,) = found
    assert state.is_completed() and said in state.message, state.message
    assert judged == [["2", "--propose"], *([["2", "--by", "Ada"]] if given["approve"] else [])]
