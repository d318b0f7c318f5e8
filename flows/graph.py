"""Read the graph of dvc.yaml: stages, inputs, outputs, and the order that follows from them.

dvc.yaml is its only definition; the flow and the tests read it here, so an edge is never written down twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from components.errors import BadInput
from components.settings.file import load
from components.settings.params import to_dict

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage: paths are relative to the workspace, with parameters filled in."""

    name: str
    cmd: str
    params: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    upstream: tuple[str, ...]
    """Stages whose outputs it reads, in the order of dvc.yaml."""


def read(workspace: Path) -> list[Stage]:
    """The stages of `workspace`/dvc.yaml, each after the stages it reads from; else in the order of the file.

    Raises `BadInput` where the folder is not a workspace, a parameter is unknown, a section of params.yaml is missing,
    or stages wait for each other.
    """
    values = to_dict(load(workspace / "params.yaml"))
    raw = _expanded(_stages(workspace / "dvc.yaml"), values)
    _refuse_missing(raw, values, workspace / "params.yaml")
    outs = {name: _paths([*spec.get("outs", []), *spec.get("metrics", [])]) for name, spec in raw.items()}
    deps = {name: _paths(spec.get("deps", [])) for name, spec in raw.items()}
    upstream = {
        name: tuple(other for other in raw if any(overlap(dep, out) for dep in deps[name] for out in outs[other]))
        for name in raw
    }
    return [
        Stage(name, raw[name]["cmd"], tuple(raw[name].get("params", [])), deps[name], outs[name], upstream[name])
        for name in _in_order(upstream, where=str(workspace / "dvc.yaml"))
    ]


def waves(stages: Sequence[Stage], *, until: str, most: int) -> list[list[Stage]]:
    """The stages in groups, each after those it reads from. In a group are at most `most` that are ready together and
    may run side by side, as long as the stage `until` reads from them; one in each of what comes later."""
    place = {stage.name: stage for stage in stages}
    before, todo = set[str](), [until] if until in place else []
    while todo:
        before |= {*(more := place[todo.pop()].upstream)}
        todo += more
    groups, done = list[list[Stage]](), set[str]()
    left = [stage for stage in stages if stage.name in before]
    while left:
        groups.append([stage for stage in left if done.issuperset(stage.upstream)][:most])
        done |= {stage.name for stage in groups[-1]}
        left = [stage for stage in left if stage.name not in done]
    return groups + [[stage] for stage in stages if stage.name not in before]


def _stages(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    if not path.is_file():
        raise BadInput(
            "this is not a workspace: there is no dvc.yaml",
            where=str(path.parent),
            mend="run in a clone of the repository, or name one",
        )
    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return document.get("stages", {})


def _refuse_missing(raw: dict[str, dict[str, Any]], values: dict[str, Any], file: Path) -> None:
    """DVC follows each section by its name, and ends where one is not there though it would hold defaults alone."""
    import yaml

    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    followed = dict.fromkeys(str(each).split(".")[0] for spec in raw.values() for each in spec.get("params", []))
    if missing := [name for name in followed if name in values and name not in given]:
        raise BadInput(
            f"sections that the graph follows are missing: {', '.join(missing)}",
            where=str(file),
            mend=f"add a line for each, for its defaults: {missing[0]}: {{}}",
        )


def _expanded(raw: dict[str, dict[str, Any]], values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The stages with parameters filled in; of one with `foreach` one for each entry, `NAME@KEY` as DVC calls it."""
    found: dict[str, dict[str, Any]] = {}
    for name, spec in raw.items():
        if "foreach" not in spec:
            found[name] = _filled(spec, values)
            continue
        reference = _REFERENCE.fullmatch(spec["foreach"])
        entries = _value(reference[1], values) if reference else spec["foreach"]
        for key, item in entries.items():
            found[f"{name}@{key}"] = _filled(spec["do"], {**values, "key": key, "item": item})
    return found


def _paths(entries: list[Any]) -> tuple[str, ...]:
    """An entry is a path, or a mapping from one path to its options."""
    return tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


def _filled(part: Any, values: dict[str, Any]) -> Any:
    """`artifacts/${dataset}/x` with the value from the parameters, in every text of a stage."""
    if isinstance(part, str):
        return _REFERENCE.sub(lambda match: str(_value(match[1], values)), part)
    if isinstance(part, list):
        return [_filled(each, values) for each in part]
    if isinstance(part, dict):
        return {_filled(key, values): _filled(each, values) for key, each in part.items()}
    return part


def _value(reference: str, values: dict[str, Any]) -> Any:
    found: Any = values
    for part in reference.split("."):
        if not isinstance(found, dict) or part not in found:
            raise BadInput(
                f"unknown parameter {reference}",
                where="dvc.yaml",
                mend="components/settings/ lists them",
            )
        found = found[part]
    return found


def overlap(one: str, other: str) -> bool:
    """Whether the paths are the same, or one lies inside the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _in_order(upstream: dict[str, tuple[str, ...]], *, where: str) -> list[str]:
    sorter = TopologicalSorter(upstream)
    try:
        sorter.prepare()
    except CycleError as error:
        raise BadInput(
            f"stages wait for each other: {' -> '.join(error.args[1])}", where=where, mend="cut one edge"
        ) from error
    order: list[str] = []
    place = {name: number for number, name in enumerate(upstream)}
    ready: set[str] = set()
    while sorter.is_active():
        ready.update(sorter.get_ready())
        name = min(ready, key=place.__getitem__)
        ready.remove(name)
        order.append(name)
        sorter.done(name)
    return order
