"""What a flow run shows in Prefect's UI: progress while a stage runs; the result table and links at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flows.standing import Standing

_UPDATE_SECONDS = 1.0
"""An update is one request to the server; people do not read faster."""


class ShownProgress:
    """A progress artifact of a flow run, kept up to date; a sink of components/progress.py.

    It appears with the first event: a cached stage shows none.
    """

    def __init__(self, name: str) -> None:
        self.standing = Standing()
        self._name = name
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._pending = False

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event in and, at most once a second, update the artifact."""
        self.standing.take({"event": event, **fields})
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
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share = self.standing.percent if percent is None else percent
        if self._artifact is None:
            made = create_progress_artifact(share, key=f"progress-{self._name}", description=self.standing.describe())
            assert isinstance(made, UUID)  # not a coroutine: a synchronous task asked for it
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, progress=share, description=self.standing.describe())
        self._updated, self._pending = time.monotonic(), False


def show_result(rows: list[dict[str, Any]], markdown: str, links: Mapping[str, str]) -> None:
    """Publish the result table, the findings in words, and one link per entry of `links` (text -> address)."""
    from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

    if rows:
        create_table_artifact(rows, key="result", description="The model beside its baselines, test users")
    if markdown:
        create_markdown_artifact(markdown, key="findings", description="What the evaluation says")
    for text, address in links.items():
        key = "link-" + "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
        create_link_artifact(address, link_text=text, key=key)


def show_scores(words: str) -> None:
    """Publish what a bulk scoring came to."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(f"```\n{words}\n```", key="scores", description="What the scoring came to")
