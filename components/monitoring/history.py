"""What was measured, window after window: one line of JSON each, and the page of all of them.

record = Record.of(version, start, end, found)
history = add(folder, record)                # an equal window of the same champion takes the place of the old one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from components.errors import BadInput
from components.monitoring.drift import Measure
from components.storage.artifacts import publishing

HISTORY, PAGE = "history.jsonl", "drift.html"


@dataclass(frozen=True)
class Record:
    """One window."""

    version: str
    """The champion that it was compared with."""
    start: str
    end: str
    events: int
    measures: dict[str, dict[str, Any]]
    emitted: bool = False
    """Whether Prefect was told of it."""

    @classmethod
    def of(cls, version: str, start: datetime, end: datetime, events: int, found: Mapping[str, Measure]) -> Self:
        first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (start, end))
        return cls(version, first, last, events, {name: each.plain() for name, each in found.items()})

    @property
    def drifted(self) -> list[str]:
        """Names of the measures that crossed their threshold."""
        return [name for name, each in self.measures.items() if each["drifted"]]


def read(folder: Path) -> list[Record]:
    """All windows, oldest first. Raises `BadInput` for a damaged file."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    try:
        return [Record(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise BadInput(
            "not the history of a monitor", where=str(path), mend="move it away; a new one begins"
        ) from error


def add(folder: Path, record: Record) -> list[Record]:
    """Publish the history with `record`, and return it."""
    others = [each for each in read(folder) if (each.version, each.end) != (record.version, record.end)]
    history = sorted([*others, record], key=lambda each: (each.end, int(each.version)))
    with publishing(folder / HISTORY) as temporary:
        lines = (json.dumps(asdict(each), sort_keys=True) + "\n" for each in history)
        temporary.write_text("".join(lines), encoding="utf-8")
    return history
