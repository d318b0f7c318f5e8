"""What a training shows in MLflow while it runs, and that nothing MLflow does can end or hold up a training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.progress import reporting
from components.registry.sink import Background, examples
from components.registry.store import connect
from components.registry.tracking import TrainingRun
from tests.registry.workspace import build
from tests.workspaces import MICRO, make_workspace, run_here, set_params

KEY = "beef" * 16


@pytest.mark.server
@pytest.mark.slow
def test_a_person_sees_what_training_teaches_while_it_runs(
    tmp_path: Path, empty_store: Path, warm_server: dict[str, str]
) -> None:
    """Prevents losses, gradient norms, rates, validation, churn and ID examples that appear when all is over.

    Cannot flake: the training has rounds for hours, and the test ends it when it has seen everything.
    """
    root = make_workspace(tmp_path / "live")
    endless = {**MICRO["train"], "recommender": {**MICRO["train"]["recommender"], "epochs": 1}, "rounds": 500}
    set_params(root, {**MICRO, "train": endless})
    # MLflow's migrations do not bear two processes that make one store at the same moment.
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    run_here(root, "ingest", "validate", "clean")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | warm_server
    command = [sys.executable, "-m", "components", "train"]
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            run = wait_for(lambda: seen(root), process)
            assert process.poll() is None and run.info.status == "RUNNING"
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 130
    assert connect(root).get_run(run.info.run_id).info.status == "KILLED"
    client = connect(root)
    churn = client.get_metric_history(run.info.run_id, "index/churn")
    assert churn[0].value == 1.0 and len(churn) >= 2
    shown = Path(client.download_artifacts(run.info.run_id, "id_examples/round_02.tsv")).read_text().splitlines()
    assert shown[1] == "item_id\twords\tbefore\ttext" and len(shown) > 5
    assert all(len(line.split("\t")) == 4 and line.split("\t")[2] for line in shown[2:])


def seen(root: Path) -> Any:
    """The run, once it has all of it; None before."""
    client = connect(root)
    experiment = client.get_experiment_by_name("demo")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    if not runs:
        return None
    figures = {f"{phase}/{name}" for phase in ("recommender", "generator") for name in ("loss", "grad_norm", "lr")}
    figures |= {"recommender/valid_ndcg_at_10", "index/churn", "index/own_word_share"}
    told = {each.path for each in client.list_artifacts(runs[0].info.run_id, "id_examples")}
    return runs[0] if figures <= set(runs[0].data.metrics) and "id_examples/round_02.tsv" in told else None


def wait_for(look: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float = 1800) -> Any:
    """What `look` finds at last; the limit only ends a test that has failed."""
    until = time.monotonic() + seconds
    while (found := look()) is None:
        assert process.poll() is None, "the training ended before anybody could look"
        assert time.monotonic() < until
        time.sleep(0.3)
    return found


def test_a_broken_store_costs_no_training(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: an hour of training refused, or lost at its end, because mlflow.db is damaged; it is said, loudly."""
    _, params = build(workspace)
    (workspace / "mlflow.db").write_bytes(b"this is no database" * 99)
    with TrainingRun(workspace, params, KEY) as sink, reporting(sink) as progress:
        progress.metrics({"recommender/loss": 1.0}, step=1)
    said = capsys.readouterr().err
    assert "WARNING: this training is not in MLflow while it runs" in said


def test_a_store_that_fails_at_the_end_costs_no_training(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a traceback after the pair is published, because the run could not be told that it is finished."""
    import mlflow

    def refuse(status: str) -> None:
        raise OSError("the disk is full")

    _, params = build(workspace)
    with monkeypatch.context() as patched, TrainingRun(workspace, params, KEY):
        patched.setattr(mlflow, "end_run", refuse)
    assert "MLflow does not know that this run is FINISHED: OSError: the disk is full" in capsys.readouterr().err
    mlflow.end_run()


class Stuck:
    """A sink whose store does not answer until it is told to."""

    run_id = "r"

    def __init__(self) -> None:
        self.answers, self.got = False, list[str]()

    def emit(self, event: str, fields: Any) -> None:
        while not self.answers:
            time.sleep(0.01)
        self.got.append(event)
        if fields.get("breaks"):
            raise RuntimeError("a driver's own error")

    def flush(self) -> None: ...

    def close(self) -> None:
        self.got.append("closed")


def test_a_store_that_hangs_does_not_hold_up_training(capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents a training that waits for a tracking server: `emit` returns while the store has not answered yet."""
    stuck = Stuck()
    sink = Background(stuck)  # type: ignore[arg-type]
    for step in range(1000):
        sink.emit("metrics", {"values": {"loss": 1.0}, "step": step, "breaks": step == 3})
        sink.emit("progress", {})
    assert stuck.got == []
    stuck.answers = True
    sink.close()
    sink.close()
    assert stuck.got == ["metrics"] * 1000 + ["closed"]
    assert capsys.readouterr().err.count("a driver's own error") == 1


def test_register_sends_what_the_store_missed(workspace: Path) -> None:
    """Prevents curves with a hole for ever, where the store was down in the middle of a training."""
    import json

    from components.registry.log import replay

    _, params = build(workspace)
    log = workspace / "log.jsonl"
    row = {"event": "index", "round": 1, "churn": 1.0, "steps": 4, "figures": {"churn": 1.0, "mean_tokens": 5.0}}
    row |= {"examples": [{"item_id": "i1", "words": "black soap", "before": "", "text": "Black Soap"}]}
    epochs = [{"event": "epoch", "phase": "recommender", "loss": 2.0 - n, "steps": n} for n in range(3)]
    log.write_text("".join(json.dumps(each) + "\n" for each in [row, *epochs]))
    with TrainingRun(workspace, params, KEY) as sink, reporting(sink) as progress:
        progress.metrics({"recommender/loss": 2.0}, step=0)
    client = connect(workspace)
    replay(client, sink.run_id, log)
    replay(client, sink.run_id, log)
    found = client.get_metric_history(sink.run_id, "recommender/loss")
    assert [(each.step, each.value) for each in found] == [(0, 2.0), (1, 1.0), (2, 0.0)]
    assert [each.value for each in client.get_metric_history(sink.run_id, "index/mean_tokens")] == [5.0]
    (shown,) = client.list_artifacts(sink.run_id, "id_examples")
    assert Path(client.download_artifacts(sink.run_id, shown.path)).read_text() == examples(row)
