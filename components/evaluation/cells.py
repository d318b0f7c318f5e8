"""A cell of a table of figures: what stands there, and its interval, which a page sets small."""

from __future__ import annotations

from typing import NamedTuple

from components.pages.render import number


class Cell(NamedTuple):
    """A figure as text; `interval` is empty where it has none."""

    text: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


def figure(value: float, interval: tuple[float, float] | None = None) -> Cell:
    """`.0784 (.0712 to .0850)`."""
    return Cell(number(value), f"{number(interval[0])} to {number(interval[1])}" if interval else "")
