"""A sink of progress that keeps the words of what was said."""

from __future__ import annotations

from typing import Any


class Heard:
    def __init__(self) -> None:
        self.said: list[str] = []

    def emit(self, event: str, fields: Any) -> None:
        self.said.append(str(fields.get("text", "")))

    def close(self) -> None:
        pass
