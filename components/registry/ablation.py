"""Logs a grid of ablations to MLflow: one parent run, and a child run for each variant and seed.

    runs = GridRuns.open(workspace, "shop-ablations", "GRID", variants)
    run_id = runs.child("no generator, seed 17", key, params, trains=True)   # the stage `train` goes on with it
    runs.result(run_id, metrics, "test", seconds)
    runs.close(table, rows, "FINISHED", "test")

As with a training, nothing that MLflow does ends a grid: a store that fails is said, and the table is in its files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import first_line
from components.registry import lineage
from components.registry.log import metric_values
from components.registry.names import ANSWER, SYSTEM
from components.registry.store import connect, experiment_id, tracking_uri
from components.registry.tracking import MAX_PARAM, NOTE, TRAIN_KEY
from components.settings.params import Params, to_dict
from components.storage.manifest import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

GRID, CELL = "idiom.grid", "idiom.cell"
_PARENT, _JUDGED = "mlflow.parentRunId", "idiom.evaluate"


class GridRuns:
    """The runs of one grid; `client` is None where MLflow could not be reached."""

    def __init__(self, client: MlflowClient | None, experiment: str, parent: str) -> None:
        self._client, self._experiment, self._parent = client, experiment, parent

    @classmethod
    def open(cls, workspace: Path, experiment: str, grid: str, variants: Mapping[str, Any]) -> GridRuns:
        """Find the parent run of a grid, or make it."""
        with _said("the grid is not in MLflow"):
            client = connect(workspace)
            found = experiment_id(client, workspace, experiment)
            parents = client.search_runs([found], f"tags.`{GRID}` = '{grid}'", order_by=["start_time ASC"])
            if parents:
                parent = parents[0].info.run_id
            else:
                tags = {GRID: grid, "mlflow.source.name": "idiom", "mlflow.source.type": "JOB"}
                parent = client.create_run(found, tags=tags, run_name=grid).info.run_id
            client.update_run(parent, status="RUNNING")
            client.log_dict(parent, {name: dict(changes) for name, changes in variants.items()}, "variants.json")
            return cls(client, found, parent)
        return cls(None, "", "")

    def child(self, cell: str, train_key: str, params: Params, *, trains: bool) -> str:
        """Run id of a cell, made if need be. trains: the cell's own training writes into it, found by its key."""
        with _said(f"{cell} is not in MLflow"):
            if self._client is not None:
                return self._child(self._client, cell, train_key, params, trains=trains)
        return ""

    def _child(self, client: MlflowClient, cell: str, train_key: str, params: Params, *, trains: bool) -> str:
        mine = f"tags.`{_PARENT}` = '{self._parent}'"
        judged = digest(to_dict(params.evaluate))  # figures of other beams belong to a run that says so
        # A training is found by its key, whatever the name it had in an earlier version of the grid.
        kind = f"tags.`{TRAIN_KEY}` = '{train_key}'" if trains else f"tags.`idiom.trained_as` = '{train_key}'"
        found = [
            run
            for run in client.search_runs([self._experiment], f"{mine} and {kind}", order_by=["start_time ASC"])
            if trains or (run.data.tags.get(CELL), run.data.tags.get(_JUDGED)) == (cell, judged)
        ]
        if found:
            return found[0].info.run_id
        own = {TRAIN_KEY: train_key} if trains else {"idiom.trained_as": train_key, _JUDGED: judged}
        tags = {_PARENT: self._parent, CELL: cell, NOTE: "One of the runs of its parent.", **own}
        run_id = client.create_run(self._experiment, tags=tags, run_name=cell).info.run_id
        if not trains:
            for key, text in lineage.flat(to_dict(params)):
                client.log_param(run_id, key, text[:MAX_PARAM])
        return run_id

    def result(self, run_id: str, metrics: Mapping[str, Any], on: str, seconds: Mapping[str, float]) -> None:
        """The figures of an evaluation, named `test/...` or `valid/...`, into the run of its cell."""
        with _said("figures are not in MLflow"):
            from mlflow.entities import Metric

            if self._client is not None and run_id:
                values = metric_values(metrics)
                if on != "test":
                    values = {_judged_on(on, name): value for name, value in values.items()}
                values |= {f"{SYSTEM}/seconds/{stage}": each for stage, each in seconds.items()}
                now = int(time.time() * 1000)
                figures = [Metric(name, value, now, 0) for name, value in values.items()]
                self._client.log_batch(run_id, metrics=figures)
                self._client.set_terminated(run_id, "FINISHED")

    def failed(self, run_id: str, why: str) -> None:
        """A cell that will give no figures."""
        with _said("a failure is not in MLflow"):
            if self._client is not None and run_id:
                self._client.set_tag(run_id, NOTE, f"Failed: {why}"[:5000])
                self._client.set_terminated(run_id, "FAILED")

    def close(self, table: str, rows: Sequence[Mapping[str, Any]], status: str, on: str) -> None:
        """The table into the parent run, as its description and as files, unless there is none; its status."""
        with _said("the table is not in MLflow"):
            if self._client is not None:
                if table:
                    self._client.set_tag(self._parent, NOTE, table[:5000])
                    self._client.log_text(self._parent, table, f"table-{on}.md")
                    self._client.log_dict(self._parent, {"rows": list(rows)}, f"table-{on}.json")
                self._client.set_terminated(self._parent, status)


def _judged_on(on: str, name: str) -> str:
    """`valid/recall_at_10`, `answer/valid_recall_at_10`: figures of a search are no test of a model."""
    group, _, figure = name.partition("/")
    if group == ANSWER:
        return f"{ANSWER}/{on}_{figure}"
    return f"{on}{name.removeprefix('test')}" if name.startswith("test") else name


def store_of(workspace: Path) -> dict[str, str]:
    """What a process in another folder needs in its environment to write into this workspace's store."""
    return {"MLFLOW_TRACKING_URI": tracking_uri(workspace)}


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Whatever MLflow or its store raises is a warning: the figures are in the grid's own files."""
    try:
        yield
    except Exception as error:
        print(f"WARNING: {what}: {first_line(error)}", file=sys.stderr)
