"""What a flow run shows in Prefect's UI: progress while a stage runs; the result table and links at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.follow import Follower, Standing

_UPDATE_SECONDS = 1.0
"""An update is one request to the server; people do not read faster."""


class ShownProgress:
    """One progress artifact per stage run, kept up to date from the stage's JSON-lines file.

    It appears with the first event: a cached stage shows none. `on_event` gets every event too (a bar on a terminal).
    """

    def __init__(
        self, stage: str, path: Path, on_event: Callable[[str, Mapping[str, Any]], None] = lambda event, fields: None
    ) -> None:
        self.standing = Standing()
        self._stage = stage
        self._follower = Follower(path)
        self._on_event = on_event
        self._artifact: UUID | None = None
        self._updated = 0.0
        self._pending = False

    def look(self, *, force: bool = False) -> None:
        """Read new events and, at most once a second, update the artifact."""
        for event in self._follower.new():
            self.standing.take(event)
            self._on_event(event["event"], event)
            self._pending = True
        if self._pending and (force or time.monotonic() - self._updated >= _UPDATE_SECONDS):
            self._publish()

    def close(self, *, completed: bool) -> None:
        """Last update; a stage that ended well stands at 100 %."""
        self.look(force=True)
        if self._artifact is not None and completed:
            self._publish(percent=100.0)

    def _publish(self, percent: float | None = None) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share = self.standing.percent if percent is None else percent
        if self._artifact is None:
            made = create_progress_artifact(share, key=f"progress-{self._stage}", description=self.standing.describe())
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
