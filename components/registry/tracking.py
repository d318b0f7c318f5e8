"""The MLflow run of a trained model: made by `train`, followed live, continued by the stages after it.

    with TrainingRun(workspace, params, train_key) as sink, reporting(sink) as progress:
        ...                                    # progress.metrics(...) appears in MLflow while training runs

The run is found again by the tag `idiom.train_key`, so a resumed training, and `register`, go on with the same one.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import Interrupted, first_line
from components.registry import lineage
from components.registry.names import run_name
from components.registry.sink import Background, MlflowSink, Nowhere
from components.registry.store import connect, experiment_id
from components.settings.params import Params, to_dict
from components.storage import parquet
from components.storage.layout import Layout
from components.storage.manifest import sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRAIN_KEY = "idiom.train_key"
NOTE = "mlflow.note.content"
MAX_PARAM = 6000
_MAX_DIGEST = 36


def run_for(client: MlflowClient, workspace: Path, params: Params, train_key: str) -> tuple[str, bool]:
    """(run id, whether it is new) of the run of one trained model. A run that was deleted in the UI is not reused."""
    from mlflow.tracking.context.registry import resolve_tags

    name = params.register.experiment or params.dataset
    experiment = experiment_id(client, workspace, name)
    found = client.search_runs([experiment], f"tags.`{TRAIN_KEY}` = '{train_key}'", order_by=["start_time ASC"])
    if found:
        return found[0].info.run_id, False
    tags = {
        TRAIN_KEY: train_key,
        "mlflow.source.name": "python -m components train",
        "mlflow.source.type": "JOB",
        NOTE: f"Training on `{params.dataset}`. Losses appear while it runs; results when `register` is done.",
    }
    # resolve_tags adds who ran it and where.
    named = _named(client, experiment, workspace, params)
    run = client.create_run(experiment, tags=resolve_tags(tags), run_name=named)
    return run.info.run_id, True


def _named(client: MlflowClient, experiment: str, workspace: Path, params: Params) -> str:
    """What the run is called: the dataset, and what changed since the training before it."""
    trainings = client.search_runs(
        [experiment], f"tags.`{TRAIN_KEY}` != ''", order_by=["start_time DESC"], max_results=1
    )
    if not trainings:
        return run_name(params.dataset, None, {})
    before = trainings[0]
    layout = Layout(workspace, params.dataset)
    learned_from = before.inputs.dataset_inputs if before.inputs else []
    digests = {each.dataset.name: each.dataset.digest for each in learned_from}
    same = all(
        digests.get(name, sha256(path)[:_MAX_DIGEST]) == sha256(path)[:_MAX_DIGEST]
        for name, path, _ in _datasets(layout)
        if path.is_file()
    )
    code = lineage.tags(layout)["idiom.git_commit"]
    now = {key: text[:MAX_PARAM] for key, text in lineage.flat(to_dict(params))}
    return run_name(params.dataset, before.data.params, now, same_data=same, code="" if code == "absent" else code)


def describe(client: MlflowClient, run_id: str, layout: Layout, params: Params) -> None:
    """Write settings as params and lineage as tags.

    MLflow's params cannot change. Settings that may (those of evaluation) therefore keep their first value there; the
    tag `idiom.params_changed` names those that have another by now, and params.json of the run has the current ones.
    """
    from mlflow.entities import Param, RunTag

    settings = {key: text[:MAX_PARAM] for key, text in lineage.flat(to_dict(params))}
    known = client.get_run(run_id).data.params
    new = [Param(key, text) for key, text in settings.items() if key not in known]
    changed = sorted(key for key, text in settings.items() if key in known and known[key] != text)
    tags = lineage.tags(layout) | {"idiom.params_changed": ", ".join(changed) or "none"}
    # One call takes at most a hundred params.
    for start in range(0, len(new), 100):
        client.log_batch(run_id, params=new[start : start + 100])
    client.log_batch(run_id, tags=[RunTag(key, text) for key, text in tags.items()])
    client.log_dict(run_id, to_dict(params), "params.json")


class TrainingRun:
    """The run of one training, as a context that gives the sink; its status follows how the training ends.

    Nothing that MLflow does ends a training: where its store fails, a warning says so and training_log.jsonl has the
    figures, which `register` sends later.
    """

    def __init__(self, workspace: Path, params: Params, train_key: str) -> None:
        self._layout, self._params, self._key = Layout(workspace, params.dataset), params, train_key
        self._sink: Background | Nowhere = Nowhere()

    def __enter__(self) -> Background | Nowhere:
        try:
            client = connect(self._layout.workspace)
            import mlflow  # after `connect`, which makes it quiet

            run_id, _ = run_for(client, self._layout.workspace, self._params, self._key)
            mlflow.start_run(run_id=run_id)
            describe(client, run_id, self._layout, self._params)
            self._sink = Background(MlflowSink(client, run_id))
        except Exception as error:
            _warn("this training is not in MLflow while it runs", error)
            _end("FAILED")
            return self._sink
        for left in (1, 0):
            try:
                inputs = client.get_run(run_id).inputs
                if not (inputs and inputs.dataset_inputs):
                    _log_datasets(self._layout)
                break
            except Exception as error:
                # Of two trainings that begin on the same new data MLflow refuses one: the row is there by then.
                if not left:
                    _warn("MLflow does not know the datasets of this training", error)
        return self._sink

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._sink.close()
        stopped = kind is not None and issubclass(kind, (Interrupted, KeyboardInterrupt))
        _end("FINISHED" if kind is None else "KILLED" if stopped else "FAILED")


def _end(status: str) -> None:
    import mlflow

    try:
        if mlflow.active_run():
            mlflow.end_run(status)
    except Exception as error:
        _warn(f"MLflow does not know that this run is {status}", error)


def _warn(what: str, error: Exception) -> None:
    print(f"WARNING: {what}: {first_line(error)}", file=sys.stderr)


def _datasets(layout: Layout) -> tuple[tuple[str, Path, str], ...]:
    """Name, file and purpose of what a training learns from."""
    return (
        ("items_clean", layout.items_clean, "training"),
        ("histories", layout.histories, "training"),
        ("valid_targets", layout.valid_targets, "validation"),
    )


def _log_datasets(layout: Layout) -> None:
    """What was learned from, each with the digest of its file, so that MLflow shows which data made which model."""
    import mlflow
    import polars as pl
    from mlflow.data.polars_dataset import from_polars

    for name, path, context in _datasets(layout):
        if path.is_file():
            with warnings.catch_warnings():
                # mlflow 3.17 registers its local source twice and warns of the choice between the two.
                warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted")
                data = from_polars(
                    pl.DataFrame(parquet.read(path)),
                    source=path.relative_to(layout.workspace).as_posix(),
                    name=name,
                    digest=sha256(path)[:_MAX_DIGEST],
                )
            mlflow.log_input(data, context=context)
