"""Figures of `Progress` into an MLflow run while training goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MAX_BATCH = 1000
"""Metrics that MLflow takes in one call."""


class MlflowSink:
    """Sends metrics in batches, at most one every `every_seconds` (10 ms on SQLite), so that training does not wait.

    A figure that the run has already (same name and step) is not sent again: a resumed training repeats some steps.
    """

    def __init__(self, client: MlflowClient, run_id: str, *, every_seconds: float = 1.0) -> None:
        self.run_id = run_id
        self._client = client
        self._every = every_seconds
        self._sent = time.monotonic()
        self._waiting: list[Any] = []
        self._trouble = False
        self._known = {
            (name, each.step)
            for name in client.get_run(run_id).data.metrics
            for each in client.get_metric_history(run_id, name)
        }

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event of `Progress`; only metrics are of interest here."""
        if event != "metrics":
            return
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), fields["step"]
        self._waiting += [
            Metric(name, float(value), now, step)
            for name, value in fields["values"].items()
            if (name, step) not in self._known
        ]
        if time.monotonic() - self._sent >= self._every:
            self.flush()

    def flush(self) -> None:
        """Send what waits. A store that fails for a moment costs no training: the figures wait for the next time."""
        from mlflow.exceptions import MlflowException

        self._sent = time.monotonic()
        while self._waiting:
            batch = self._waiting[:_MAX_BATCH]
            try:
                self._client.log_batch(self.run_id, metrics=batch)
            except MlflowException as error:
                if not self._trouble:
                    print(f"MLflow takes no metrics, trying again: {str(error).splitlines()[0][:200]}", file=sys.stderr)
                self._trouble = True
                return
            self._trouble = False
            del self._waiting[: len(batch)]

    def close(self) -> None:
        """Send the rest; say so if that fails (training_log.jsonl in the pair has every figure)."""
        self.flush()
        if self._waiting:
            print(f"{len(self._waiting)} metrics did not reach MLflow; training_log.jsonl has them", file=sys.stderr)
