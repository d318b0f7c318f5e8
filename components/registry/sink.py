"""Logs the figures of a running training to its MLflow run."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.errors import first_line
from components.registry.names import logged_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MAX_BATCH = 1000
"""Metrics that MLflow takes in one call."""

CLOSING_SECONDS = 30.0
"""How long the end of a training waits for a slow store; `register` sends what is missing then."""


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
        """Take one event of `Progress`: metrics, or the note of a round's new IDs (its log line as field `index`)."""
        if event == "note" and "index" in fields:
            row = fields["index"]
            self._client.log_text(self.run_id, examples(row), f"id_examples/round_{row['round']:02d}.tsv")
        if event != "metrics":
            return
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), fields["step"]
        named = ((logged_name(name), float(value)) for name, value in fields["values"].items())
        self._waiting += [
            Metric(name, value, now, step) for name, value in named if name and (name, step) not in self._known
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
                    print(f"WARNING: MLflow takes no metrics, trying again: {first_line(error)}", file=sys.stderr)
                self._trouble = True
                return
            self._trouble = False
            del self._waiting[: len(batch)]

    def close(self) -> None:
        """Send the rest; say so if that fails (training_log.jsonl in the pair has every figure)."""
        self.flush()
        if self._waiting:
            print(f"{len(self._waiting)} metrics did not reach MLflow; training_log.jsonl has them", file=sys.stderr)


def examples(row: Mapping[str, Any]) -> str:
    """The examples in the log line of a re-index, as tab-separated lines: the same items in every round."""
    lines = [f"# round {row['round']}: {row['churn']:.1%} of the IDs are new", "item_id\twords\tbefore\ttext"]
    for each in row["examples"]:
        cells = (each[name] for name in ("item_id", "words", "before", "text"))
        lines.append("\t".join(" ".join(cell.split()) for cell in cells))
    return "\n".join(lines) + "\n"


class Background:
    """Hands events to a sink in a thread of its own: a store that is slow, or gone, never holds up a training."""

    def __init__(self, sink: MlflowSink, *, every_seconds: float = 1.0) -> None:
        self.run_id = sink.run_id
        self._sink, self._every, self._trouble = sink, every_seconds, False
        self._events: queue.SimpleQueue[tuple[str, Mapping[str, Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        """Costs a microsecond; bars, which MLflow does not show, are left out."""
        if event != "progress":
            self._events.put((event, fields))

    def close(self) -> None:
        """Wait until everything is sent, but not for ever."""
        self._events.put(None)
        self._thread.join(CLOSING_SECONDS)
        if self._thread.is_alive():
            print(f"WARNING: MLflow did not take all figures within {CLOSING_SECONDS:.0f} s", file=sys.stderr)

    def _work(self) -> None:
        while True:
            try:
                waiting = self._events.get(timeout=self._every)
            except queue.Empty:
                self._try(self._sink.flush)
                continue
            if waiting is None:
                self._try(self._sink.close)
                return
            self._try(self._sink.emit, *waiting)

    def _try(self, act: Callable[..., None], *arguments: Any) -> None:
        """Whatever MLflow or its store raises (a driver's errors come unwrapped) is said once and ends no training."""
        try:
            act(*arguments)
        except Exception as error:
            if not self._trouble:
                print(f"WARNING: MLflow failed, the training goes on: {first_line(error)}", file=sys.stderr)
            self._trouble = True


class Nowhere:
    """A sink for a training that MLflow cannot follow."""

    run_id = ""

    def emit(self, event: str, fields: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...
