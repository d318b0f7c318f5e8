"""Where a running stage stands, from the events that components/progress.py knows: what a person is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Standing:
    """Where a running stage stands, from the events so far."""

    task: str = ""
    done: int = 0
    total: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    tasks: list[str] = field(default_factory=list)
    """Tasks seen so far, in order."""
    notes: list[str] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        if event["event"] == "progress":
            self.task, self.done, self.total = event["task"], event["done"], event["total"]
            if self.task not in self.tasks:
                self.tasks.append(self.task)
        elif event["event"] == "metrics":
            self.metrics.update(event["values"])
            self.step = event["step"]
        elif event["event"] == "note":
            self.notes.append(event["text"])

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
