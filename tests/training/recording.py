"""A progress sink that records events."""

from __future__ import annotations

from typing import Any


class RecordingSink:
    """Events in the order they came."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def emit(self, event: str, fields: Any) -> None:
        self.events.append((event, dict(fields)))

    def close(self) -> None:
        pass

    def figures(self) -> dict[str, float]:
        """The last value of each figure."""
        return {
            name: value
            for event, fields in self.events
            if event == "metrics"
            for name, value in fields["values"].items()
        }
