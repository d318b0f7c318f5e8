"""Tags of an MLflow run and a model version that say where it came from: commit, data versions, verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import BadInput
from components.processes import git
from components.storage.artifacts import read_json
from components.storage.layout import Layout
from components.storage.manifest import sha256

_SHORT = 12


def tags(layout: Layout) -> dict[str, str]:
    """Tags of everything that is known now; a part that is not there (no git, no dvc.lock) is said to be absent."""
    lock = layout.workspace / "dvc.lock"
    return {
        "idiom.dataset": layout.dataset,
        "idiom.dvc_lock": sha256(lock) if lock.is_file() else "absent",
        "idiom.validation": verdict_of(layout.verdict),
        **_git(layout.workspace),
    }


def short(layout: Layout) -> dict[str, str]:
    """The tags of a version, few and short: commit, changes since, dvc.lock, verdict. The run has all
    of them in full."""
    found = tags(layout)
    changed = {"idiom.git_dirty": "true"} if found["idiom.git_dirty"] == "true" else {}
    verdict, _, missed = found["idiom.validation"].partition("; not met: ")
    return {
        "idiom.git_commit": found["idiom.git_commit"],
        **changed,
        "idiom.dvc_lock": found["idiom.dvc_lock"][:_SHORT],
        "idiom.validation": f"{verdict}, {len(missed.split(', '))} not met" if missed else verdict,
    }


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `train.recommender.lr` -> text, for MLflow's params."""
    for key, each in value.items():
        if isinstance(each, Mapping) and each:
            yield from flat(each, f"{prefix}{key}.")
        else:
            text = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False, sort_keys=True)
            yield f"{prefix}{key}", text


def verdict_of(path: Path) -> str:
    """What `validate` found, in a few words. Raises `BadInput` for a file that it did not write."""
    if not path.is_file():
        return "absent"
    verdict = read_json(path)
    checks = verdict.get("checks", []) if isinstance(verdict, dict) else None
    if not isinstance(checks, list) or not all(isinstance(c, dict) and {"name", "passed"} <= set(c) for c in checks):
        raise BadInput("not what `validate` writes", where=str(path), mend="run the stage `validate` again")
    if not isinstance(verdict.get("passed"), bool):
        raise BadInput("the verdict does not say whether it passed", where=str(path), mend="run `validate` again")
    failed = sorted(str(check["name"]) for check in checks if not check["passed"])
    return ("passed" if verdict["passed"] else "FAILED") + (f"; not met: {', '.join(failed)}" if failed else "")


def _git(workspace: Path) -> dict[str, str]:
    commit = git.commit(workspace)
    if commit == git.ABSENT:
        return {"idiom.git_commit": commit, "idiom.git_dirty": "unknown"}
    return {
        "idiom.git_commit": commit,
        "idiom.git_dirty": git.changed(workspace),
        # The name under which MLflow's own pages show it.
        "mlflow.source.git.commit": commit,
    }
