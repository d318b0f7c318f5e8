"""Save a frozen dataclass with paths and nested settings as JSON, and load it in another process.

@dataclass(frozen=True)
class IndexJob(SavedAsJson):
    pair: Path
    settings: Index

job.save(path)
IndexJob.load(path) == job
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args, get_type_hints

from components.errors import BadInput
from components.storage.artifacts import publish_json, read_json

T = TypeVar("T")


class SavedAsJson:
    """Saves and loads the dataclass that inherits it."""

    GONE: ClassVar[tuple[str, ...]] = ()
    """Fields of earlier versions: a file that has them is read without them."""

    def save(self, path: Path) -> None:
        """Write as JSON, atomically; a process on another machine needs the same paths."""
        publish_json(path, dataclasses.asdict(self, dict_factory=_plain))  # type: ignore[call-overload]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises `BadInput` for a missing or broken file, an unknown field or a wrong value."""
        try:
            return from_json(cls, {name: each for name, each in read_json(path).items() if name not in cls.GONE})
        except (AttributeError, TypeError, ValueError) as error:
            mend = f"its keys are the fields of {cls.__module__}.{cls.__name__}, whose `save` writes it"
            raise BadInput(f"not a valid {cls.__name__}: {error}", where=str(path), mend=mend) from error


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """The dataclass `kind` from a JSON object: texts become paths, objects dataclasses, as its fields are declared.

    Without pydantic, which a bare GPU machine has not. Raises what the constructor raises.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _typed(hints.get(name), each) for name, each in value.items()})


def _typed(hint: Any, value: Any) -> Any:
    kinds = get_args(hint) or (hint,)  # those of a union, `Path | None`
    if isinstance(value, str) and Path in kinds:
        return Path(value)
    if isinstance(value, dict):
        for kind in kinds:
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                return from_json(kind, value)
    return value


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields}
