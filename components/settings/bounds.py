"""What a setting may be: bounds of a field, a path that stays inside the workspace.

    @dataclass(frozen=True)
    class Evaluate(Section):
        beams: int = bounded(20, low=1)

Standard library only, as the settings themselves (`params.py`); what is out of bounds is a `ValueError`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

MOST_BEAMS = 500
"""Most beams, and most items of an answer, that the search is made for."""


def bounded(default: Any, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with inclusive bounds, checked by `Section`."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Section:
    """Checks the bounds of every field after construction; unknown keys are refused by `settings.file`."""

    # Read by pydantic when it validates; a plain dict, so that nothing is imported for it.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value, low, high = getattr(self, spec.name), spec.metadata.get("low"), spec.metadata.get("high")
            if isinstance(value, (int, float)) and value != value:
                raise ValueError(f"{spec.name} is not a number")
            if low is not None and value is not None and value < low:
                raise ValueError(f"{spec.name} is {value}, the smallest allowed is {low}")
            if high is not None and value is not None and value > high:
                raise ValueError(f"{spec.name} is {value}, the largest allowed is {high}")


def inside(path: str, *, key: str) -> str:
    """Refuse a path that leaves the workspace; return it unchanged otherwise."""
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match(r"[A-Za-z]:", path):
        raise ValueError(
            f"{key} is {path!r}, which leaves the workspace; "
            "`idiom init PATH` links a folder from elsewhere into data/raw/"
        )
    return path
