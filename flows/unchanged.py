"""Which stages DVC finds unchanged, asked once for all of them: a process for each would take a second or two.

    cached_stages(workspace, graph.read(workspace))      # {"ingest", "validate", ...}

Where DVC does not answer (another process holds its lock, an input is missing), none is: each stage then asks by itself
and says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.processes.child import running
from flows.graph import Stage
from flows.repro import dvc_environment


def cached_stages(workspace: Path, stages: Sequence[Stage]) -> frozenset[str]:
    """Names of the stages that DVC would skip, as long as none of the others has run: itself unchanged, and all before
    it. `stages`: each after those it reads from."""
    changed = _changed(workspace)
    if changed is None:
        return frozenset()
    found: set[str] = set()
    for stage in stages:
        if stage.name not in changed and found.issuperset(stage.upstream):
            found.add(stage.name)
    return frozenset(found)


def _changed(workspace: Path) -> dict[str, Any] | None:
    """What `dvc status` says of stages with another input, parameter, command or output; None where it says nothing."""
    with running(["dvc", "status", "--json"], cwd=workspace, environment=dvc_environment(), output="pipe") as child:
        lines = [line for line in child.lines() if line]
    if child.wait() or not lines:
        return None
    try:
        said = json.loads(lines[-1])
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
