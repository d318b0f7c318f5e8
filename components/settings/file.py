"""`params.yaml` read and checked: an unknown key, a wrong type or a value out of bounds is named, with its mend.

params = load(Path("params.yaml"))
params = from_dict({"train": {"rounds": 3}})
"""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from components.errors import BadInput
from components.settings.params import Params

_RENAMED = {"train.generator.cold_start_epochs": "train.generator.cold_start_steps now, steps instead of epochs"}
"""Parameters of earlier versions -> what they are now, for the error that refuses them."""


def load(path: Path) -> Params:
    """Read and check `path`. Raises `BadInput`, which names the key, for anything that is not as it should be."""
    if not path.is_file():
        raise BadInput(
            "there is no parameter file",
            where=str(path),
            mend="run in a workspace, or write one with `idiom init PATH`",
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"not readable as YAML: {error}", where=str(path), mend="correct the syntax there") from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise BadInput(
            f"holds a {type(raw).__name__}, not a mapping",
            where=str(path),
            mend="start from the params.yaml of the repository",
        )
    return from_dict(raw, where=str(path))


def from_dict(raw: dict[str, Any], *, where: str = "params") -> Params:
    """Check a nested dict and turn it into `Params`. Raises `BadInput` naming every wrong key."""
    try:
        return TypeAdapter(Params).validate_python(raw)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise BadInput(
            "; ".join(lines),
            where=where,
            mend="components/settings/ documents every key",
        ) from error


def _explain(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "params"
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown parameter {key}{_similar(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if problem["type"] == "value_error" else f"{key}: {message} (found {problem['input']!r})"


def _similar(location: tuple[Any, ...]) -> str:
    """The known key nearest to an unknown one, or all known keys of its section."""
    section: Any = Params
    for part in location[:-1]:
        section = get_args(section)[1] if get_origin(section) is dict else get_type_hints(section)[str(part)]
    names = [spec.name for spec in dataclasses.fields(section)]
    if (now := _RENAMED.get(".".join(map(str, location)))) is not None:
        return f" (it is {now})"
    near = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (known here: {', '.join(names)})"
