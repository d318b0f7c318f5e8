"""Publish artifacts of a flow run in Prefect's UI: the progress of a stage, the result table, findings and links."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from components.errors import first_line

_TRIES = 2
"""Retries of an update, of 2 and 4 s."""
_UPDATE_SECONDS = 1.0
"""An update is one request to the server; people do not read faster."""


@dataclass
class StageProgress:
    """The current task of a running stage and the last value of each figure, from its progress events."""

    task: str = ""
    done: int = 0
    total: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        if event["event"] == "progress":
            self.task, self.done, self.total = event["task"], event["done"], event["total"]
        elif event["event"] == "metrics":
            self.metrics.update(event["values"])
            self.step = event["step"]

    @property
    def percent(self) -> float:
        """Share of the current task that is done, 0 to 100; 0 while its length is unknown."""
        return 100.0 * min(self.done / self.total, 1.0) if self.total else 0.0

    def describe(self) -> str:
        """Markdown: the current task, and the last value of each figure."""
        if not self.task:
            return "not started"
        lines = [f"**{self.task}** {self.done}/{self.total or '?'}"]
        if self.metrics:
            lines += ["", f"| figure (step {self.step}) | last value |", "|---|---|"]
            lines += [f"| {name} | {value:.4g} |" for name, value in sorted(self.metrics.items())]
        return "\n".join(lines)


class ProgressArtifact:
    """A progress artifact of a flow run, kept up to date; a sink of components/progress.py.

    It appears with the first event: a cached stage shows none. A server that refuses it ends nothing: `warn` is
    called once, and the next update tries again.
    """

    def __init__(self, name: str, warn: Callable[[str], object]) -> None:
        self._progress = StageProgress()
        # Prefect takes small letters, digits and dashes; a stage may be called `ingest-of@Toys`.
        self._key, self._warn = re.sub(r"[^a-z0-9]+", "-", f"progress-{name}".lower()), warn
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._pending = False
        self._trouble = False

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event in and, at most once a second, update the artifact."""
        self._progress.take({"event": event, **fields})
        self._pending = True
        self.update()

    def update(self, *, force: bool = False) -> None:
        """Tell the server what is new; an update is held back where the last one is younger than a second."""
        if self._pending and (force or time.monotonic() - self._updated >= _UPDATE_SECONDS):
            self._publish()

    def close(self) -> None:
        """Last update."""
        self.update(force=True)

    def complete(self) -> None:
        """What ended well stands at 100 %."""
        if self._artifact is not None:
            self._publish(percent=100.0)

    def _publish(self, percent: float | None = None) -> None:
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        # Prefect's client tries for minutes. A few seconds are enough: nobody reads the stage's output meanwhile.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0 if self._trouble else _TRIES}):
            try:
                self._send(self._progress.percent if percent is None else percent)
                self._trouble = self._pending = False
            except _refusals() as error:
                if not self._trouble:
                    self._warn(f"Prefect does not take the progress, trying again: {first_line(error)}")
                self._trouble = True
        self._updated = time.monotonic()

    def _send(self, percent: float) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        words = self._progress.describe()
        if self._artifact is None:
            made = create_progress_artifact(percent, key=self._key, description=words)
            assert isinstance(made, UUID)  # not a coroutine: a synchronous task asked for it
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, progress=percent, description=words)


def publish_result(
    rows: list[dict[str, Any]],
    markdown: str,
    links: Mapping[str, str],
    warn: Callable[[str], object],
    warnings: Sequence[str] = (),
) -> None:
    """Publish the result table, the findings in words, what the stages warned of, and one link per entry of `links`
    (text -> address).

    A server that refuses them ends nothing, here and in `publish_scores`: the work is done, and `warn` is called.
    """
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    with warning("did not take the result", warn):
        if rows:
            create_table_artifact(rows, key="result", description="The model beside its baselines, test users")
        if markdown:
            create_markdown_artifact(markdown, key="findings", description="What the evaluation says")
        if warnings:
            listed = "\n".join(f"- {line}" for line in warnings)
            create_markdown_artifact(
                listed, key="warnings", description="Can this be trusted? What the stages warned of"
            )
        _publish_links(links)


def publish_scores(words: str, warn: Callable[[str], object]) -> None:
    """Publish what a bulk scoring came to."""
    from prefect.artifacts import create_markdown_artifact

    with warning("did not take the result", warn):
        create_markdown_artifact(f"```\n{words}\n```", key="scores", description="What the scoring came to")


def publish_decision(words: str, links: Mapping[str, str], warn: Callable[[str], object]) -> None:
    """Publish whether a version was promoted, with every reason, and `links` (text -> address) to the comparison."""
    from prefect.artifacts import create_markdown_artifact

    with warning("did not take the decision", warn):
        create_markdown_artifact(f"```\n{words}\n```", key="promotion", description="Is the new version better?")
        _publish_links(links)


def _publish_links(links: Mapping[str, str]) -> None:
    from prefect.artifacts import create_link_artifact

    for text, address in links.items():
        key = "link-" + "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
        create_link_artifact(address, link_text=text, key=key)


@contextmanager
def warning(what: str, warn: Callable[[str], object]) -> Iterator[None]:
    """Turn a refusal of Prefect's server inside the block into a warning that says `what` it did not do."""
    try:
        yield
    except _refusals() as error:
        warn(f"Prefect {what}: {first_line(error)}")


def _refusals() -> tuple[type[Exception], ...]:
    """What a server raises here that does not answer, or not well; a bug of ours is none of these."""
    from httpx import HTTPError
    from prefect.exceptions import PrefectException

    return HTTPError, PrefectException
