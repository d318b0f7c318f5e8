"""`idiom reproduce [VERSION]`: makes a version again, from its commit, settings and data, and compares bytes.

A clone of the repository at the version's commit gets its changes, params.yaml and dvc.lock; the data come from the
commit, from DVC's remote, or from this workspace; `dvc repro evaluate` runs there. Nothing is registered.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.errors import BadInput, StageError
from components.processes import git
from components.registry.origin import LOCK, PARAMS, Origin, locked, origin_of
from components.settings.params import Params
from components.storage.artifacts import publishing
from flows.graph import overlap
from flows.repro import reproduce_all
from flows.start import bring_start

LAST = "evaluate"
"""The last stage that is run again: `register` would make a version of it."""


@dataclass(frozen=True)
class Reproduction:
    """What came of it."""

    version: str
    folder: Path
    equal: tuple[str, ...]
    """Outputs with the bytes that the version was made of."""
    other: tuple[str, ...]
    """Outputs with others."""


def lineage_lines(origin: Origin) -> list[str]:
    """The origin of a version, a line a fact."""
    facts = {name.removeprefix("idiom."): value for name, value in origin.facts.items()}
    lines = [("version", origin.version + (f" ({', '.join(origin.aliases)})" if origin.aliases else ""))]
    lines += [("registered", f"{origin.registered} UTC"), ("run", origin.run_id)]
    lines += [(name, value.splitlines()[0] if value else "") for name, value in facts.items()]
    if origin.lock is not None:
        stages = locked(origin.lock)
        made = {path for stage in stages.values() for path in stage["outs"]}
        read = {path: md5 for stage in stages.values() for path, md5 in stage["deps"].items() if path not in made}
        lines += [("data", f"{path}  {md5}") for path, md5 in read.items() if path.startswith("data/")]
    lines.append(
        ("changes", f"{origin.changes.count('diff --git')} files beside the commit" if origin.changes else "none")
    )
    width = max(len(name) for name, _ in lines)
    return [f"{name:<{width}}  {value}" for name, value in lines]


def reproduce(
    workspace: Path, params: Params, version: str, into: Path | None, say: Callable[[str], None]
) -> Reproduction:
    """Make `version` again in the new folder `into` (None: work/reproduced/VERSION).

    Raises `BadInput` where the version does not say what it came from, its commit or data cannot be had, or `into`
    exists; `StageError` where a stage fails there.
    """
    origin = origin_of(workspace, params, version)
    settings, lock, commit = _sufficient(origin)
    into = into or workspace / "work" / "reproduced" / origin.version
    if into.exists():
        raise BadInput("the folder exists", where=str(into), mend="name a new one: idiom reproduce --into FOLDER")
    root = Path(git.run(workspace, "rev-parse", "--show-toplevel").strip())
    inside = workspace.resolve().relative_to(root)
    say(f"version {origin.version}: commit {commit[:12]} -> {into}")
    _clone(root, commit, into, version=origin.version)
    place = into / inside
    if origin.changes:
        say(f"changes  {origin.changes.count('diff --git')} files beside the commit")
        below = [] if inside == Path() else ["--directory", str(inside)]
        git.run(into, "apply", "--binary", "--whitespace=nowarn", *below, "-", given=origin.changes)
    for name, text in ((PARAMS, settings), (LOCK, lock)):
        with publishing(place / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if start := bring_start(workspace, params, settings, place):
        say(f"start    {start}")
    expected = {name: stage for name, stage in locked(lock).items() if name != "register"}
    _bring_inputs(workspace, place, expected, say)
    (place / LOCK).unlink()  # so that nothing is taken for done
    outcome = reproduce_all(place, LAST)
    if outcome.exit_code:
        raise StageError(outcome.message, where=str(place), mend="mend it there, then run dvc repro evaluate there")
    return _compared(origin, place, expected, locked((place / LOCK).read_text(encoding="utf-8")))


def _sufficient(origin: Origin) -> tuple[str, str, str]:
    """(params.yaml, dvc.lock, commit) of a version that says them."""
    commit = origin.facts.get("idiom.git_commit", "absent")
    for lacking, what in (
        (origin.settings is None, "it was registered before Idiom kept what a version is made from"),
        (origin.lock is None, "it was not made by DVC: there was no dvc.lock"),
        (commit == "absent", "it was not made in a git repository with a commit"),
    ):
        if lacking:
            mend = "register a model from a repository, by idiom retrain or dvc repro"
            raise BadInput(what, where=f"version {origin.version}", mend=mend)
    assert origin.settings is not None and origin.lock is not None
    return origin.settings, origin.lock, commit


def _clone(root: Path, commit: str, into: Path, *, version: str) -> None:
    try:
        git.run(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except BadInput as error:
        raise BadInput(
            f"this repository does not have the commit {commit} of version {version}",
            where=str(root),
            mend="git fetch --all, or run this in the repository that the version was made in",
        ) from error
    git.run(root, "clone", "--quiet", "--no-checkout", str(root), str(into.resolve()))
    git.run(into, "checkout", "--quiet", "--detach", commit)


def _bring_inputs(
    workspace: Path, place: Path, expected: dict[str, dict[str, dict[str, str]]], say: Callable[[str], None]
) -> None:
    """What the stages read and no stage writes: from the commit, from DVC's remote, or linked from this workspace."""
    made = {path for stage in expected.values() for path in stage["outs"]}
    for path in dict.fromkeys(path for stage in expected.values() for path in stage["deps"]):
        if (place / path).exists() or any(overlap(path, out) for out in made):
            continue
        if (place / f"{path}.dvc").is_file():
            say(f"data     dvc pull {path}")
            done = subprocess.run(["dvc", "pull", path], cwd=place, capture_output=True, text=True)
            if done.returncode == 0:
                continue
        if not (workspace / path).exists():
            raise BadInput("the version was made of data that is not here", where=str(workspace / path),
                           mend="put it there, or add it to DVC (dvc add) and push it to a remote")  # fmt: skip
        say(f"data     {path} of this workspace")
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).symlink_to((workspace / path).resolve())


def _compared(
    origin: Origin,
    place: Path,
    expected: dict[str, dict[str, dict[str, str]]],
    found: dict[str, dict[str, dict[str, str]]],
) -> Reproduction:
    """Which outputs have the same bytes; `BadInput` where what was read differs already."""
    made = {path for stage in expected.values() for path in stage["outs"]}
    for name, stage in expected.items():
        for path, md5 in stage["deps"].items():
            if not any(overlap(path, out) for out in made) and found[name]["deps"].get(path, md5) != md5:
                raise BadInput(f"the stage `{name}` read something else than for version {origin.version}",
                               where=str(place / path), mend="bring the data back that it was made of")  # fmt: skip
    outs = {
        path: (md5, found[name]["outs"].get(path))
        for name, stage in expected.items()
        for path, md5 in stage["outs"].items()
    }
    return Reproduction(
        version=origin.version,
        folder=place,
        equal=tuple(sorted(path for path, (old, new) in outs.items() if old == new)),
        other=tuple(sorted(path for path, (old, new) in outs.items() if old != new)),
    )
