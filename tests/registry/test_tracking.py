"""One run per trained model, followed live, with everything a reviewer needs to trust it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.errors import BadInput, Interrupted
from components.progress import reporting
from components.registry import lineage
from components.registry.sink import MlflowSink
from components.registry.store import connect, experiment_id, tracking_uri
from components.registry.tracking import TrainingRun
from components.storage.manifest import sha256
from tests.registry.workspace import build

KEY = "f00d" * 16


def history(workspace: Path, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in connect(workspace).get_metric_history(run_id, name)]


def test_a_resumed_training_goes_on_with_its_run_and_repeats_no_point(workspace: Path) -> None:
    """Prevents a second run after a crash, and a zigzag where a resumed training repeats steps it had reported."""
    _, params = build(workspace)
    with pytest.raises(Interrupted), TrainingRun(workspace, params, KEY) as sink, reporting(sink) as progress:
        for step in range(3):
            progress.metrics({"recommender/loss": 2.0 - step}, step=step)
        raise Interrupted("stopped", where="here", mend="run again")
    client = connect(workspace)
    assert client.get_run(sink.run_id).info.status == "KILLED"
    with TrainingRun(workspace, params, KEY) as again, reporting(again) as progress:
        for step in range(2, 5):
            progress.metrics({"recommender/loss": 2.0 - step}, step=step)
    assert again.run_id == sink.run_id
    assert history(workspace, sink.run_id, "recommender/loss") == [(step, 2.0 - step) for step in range(5)]
    assert client.get_run(sink.run_id).info.status == "FINISHED"


def test_another_training_gets_another_run(workspace: Path) -> None:
    """Prevents losses of two models in one curve."""
    _, params = build(workspace)
    with TrainingRun(workspace, params, KEY) as first:
        pass
    with TrainingRun(workspace, params, KEY[::-1]) as second:
        pass
    assert first.run_id != second.run_id


def test_losses_are_in_the_store_while_training_runs_and_in_few_calls(workspace: Path) -> None:
    """Prevents a curve that appears only at the end, and a database write for every batch of the training."""
    _, params = build(workspace)
    with TrainingRun(workspace, params, KEY) as sink:
        calls = Counting(connect(workspace))
        slow = MlflowSink(calls, sink.run_id, every_seconds=3600)  # type: ignore[arg-type]
        for step in range(2500):
            slow.emit("metrics", {"values": {"loss": 1.0}, "step": step})
        assert calls.batches == []
        slow.flush()
        assert calls.batches == [1000, 1000, 500]
        quick = MlflowSink(calls, sink.run_id, every_seconds=0)  # type: ignore[arg-type]
        quick.emit("metrics", {"values": {"live": 1.0}, "step": 0})
        assert history(workspace, sink.run_id, "live") == [(0, 1.0)]


class Counting:
    """A client that counts the batches it passes on; it can be told to fail."""

    def __init__(self, client: Any, *, failures: int = 0) -> None:
        self._client, self.failures = client, failures
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def log_batch(self, run_id: str, metrics: Sequence[Any]) -> None:
        from mlflow.exceptions import MlflowException

        if self.failures:
            self.failures -= 1
            raise MlflowException("database is locked")
        self.batches.append(len(metrics))
        self._client.log_batch(run_id, metrics=metrics)


def test_a_store_that_fails_for_a_moment_costs_no_figure_and_no_training(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents hours of training lost to a locked database, and figures dropped without a word."""
    _, params = build(workspace)
    with TrainingRun(workspace, params, KEY) as sink:
        flaky = MlflowSink(Counting(connect(workspace), failures=2), sink.run_id, every_seconds=0)  # type: ignore[arg-type]
        for step in range(4):
            flaky.emit("metrics", {"values": {"loss": float(step)}, "step": step})
        flaky.close()
        assert history(workspace, sink.run_id, "loss") == [(step, float(step)) for step in range(4)]
        assert capsys.readouterr().err.count("database is locked") == 1
        dead = MlflowSink(Counting(connect(workspace), failures=9), sink.run_id, every_seconds=0)  # type: ignore[arg-type]
        dead.emit("metrics", {"values": {"loss": 1.0}, "step": 9})
        dead.close()
        assert "1 metrics did not reach MLflow" in capsys.readouterr().err


def test_settings_data_and_lineage_are_in_the_run(workspace: Path) -> None:
    """Prevents a run nobody can reproduce: which settings, which data, which commit, did the data pass its checks."""
    (workspace / "dvc.lock").write_text("schema: '2.0'\n")
    layout, params = build(workspace)
    with TrainingRun(workspace, params, KEY) as sink:
        pass
    run = connect(workspace).get_run(sink.run_id)
    assert run.info.user_id
    assert run.data.params["train.recommender.lr"] == "0.002"
    assert run.data.params["evaluate.ks"] == "[2, 5]"
    assert run.data.tags["idiom.dvc_lock"] == sha256(workspace / "dvc.lock")
    assert run.data.tags["idiom.validation"] == "passed; not met: ties_in_time"
    assert run.data.tags["idiom.git_commit"] == "absent"
    digests = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
    assert digests["histories"] == sha256(layout.histories)[:36]
    assert set(digests) == {"items_clean", "histories", "valid_targets"}


def test_changed_settings_of_a_later_stage_do_not_stop_the_run(workspace: Path) -> None:
    """Prevents 'Changing param values is not allowed' when the same model is evaluated with other settings."""
    from components.settings.file import from_dict

    _, params = build(workspace)
    with TrainingRun(workspace, params, KEY):
        pass
    with TrainingRun(workspace, from_dict({"dataset": "tiny", "evaluate": {"ks": [2, 5], "beams": 7}}), KEY) as sink:
        pass
    run = connect(workspace).get_run(sink.run_id)
    assert run.data.params["evaluate.beams"] == "20"
    assert run.data.tags["idiom.params_changed"] == "evaluate.beams"


def test_git_tags_tell_a_changed_checkout_from_a_clean_one(tmp_path: Path) -> None:
    """Prevents a commit that does not hold the code that ran; dvc.lock alone, which every run changes, is not dirt."""

    def git(*words: str) -> None:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    assert len(lineage._git(tmp_path)["idiom.git_commit"]) == 40
    (tmp_path / "dvc.lock").write_text("2")
    assert lineage._git(tmp_path)["idiom.git_dirty"] == "false"
    (tmp_path / "code.py").write_text("2")
    assert lineage._git(tmp_path)["idiom.git_dirty"] == "true"


def test_a_store_that_does_not_answer_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents minutes of silent retries and a page of traceback for a mistyped address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BadInput, match=r"(?s)does not answer.*127\.0\.0\.1:9.*MLFLOW_TRACKING_URI"):
        connect(workspace)


def test_a_deleted_experiment_is_named_with_its_mend(workspace: Path) -> None:
    """Prevents mlflow's 'must be active state' from the middle of a stage."""
    client = connect(workspace)
    client.delete_experiment(experiment_id(client, workspace, "tiny"))
    with pytest.raises(BadInput, match="restore it"):
        experiment_id(client, workspace, "tiny")


def test_a_workspace_does_not_leak_its_store_into_the_next(workspace: Path, tmp_path: Path) -> None:
    """Prevents a second workspace in one process from writing into the first: mlflow exports its addresses."""
    connect(workspace)
    assert "MLFLOW_REGISTRY_URI" not in os.environ
    assert tracking_uri(tmp_path / "other") == f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"
