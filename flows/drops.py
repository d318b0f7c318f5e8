"""`idiom ingest --append` and `idiom forget`: changes to what a data set is made from, and DVC told of them.

The change itself is one rename (components/data/append). DVC is told after it, and told again by the next call where
that was killed in between.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from components.data.append.append import Appended, append
from components.data.drops.store import Store
from components.errors import StageError
from components.registry.promotion import person
from components.settings.params import Params
from components.storage.layout import Layout
from flows import dvc_lock
from flows.holding import replacing
from flows.repro import dvc_environment


def append_drop(workspace: Path, params: Params, drop: str, say: Callable[[str], object]) -> Appended:
    """Take in a drop; see `append` for what is raised. Waits while a stage reads the drops that are there."""
    workspace = workspace.resolve()
    store, layout = Store.of(workspace, params.dataset), Layout(workspace, params.dataset)
    with replacing(workspace, say), store.alone():
        done = append(params, layout, store, drop, now=datetime.now(UTC), by=person())
        if store.folder.is_dir():
            _tell_dvc(workspace, store)
    return done


def _tell_dvc(workspace: Path, store: Store) -> None:
    """Bring the folder of drops into DVC's cache, where it is not in it as it is."""
    folder = str(store.folder.relative_to(workspace))
    dvc_lock.mend(workspace)
    command = ["dvc", "add", "--quiet", folder]
    done = subprocess.run(command, cwd=workspace, env=dvc_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        mend = f"it is kept; tell DVC of it: dvc add {folder}"
        raise StageError(f"DVC did not take the drop: {said}", where=folder, mend=mend)
