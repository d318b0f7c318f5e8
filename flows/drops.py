"""`idiom ingest --append` and `idiom forget`: changes to what a data set is made from, and DVC told of them.

The change itself is one rename (components/data/append). DVC is told after it, and told again by the next call where
that was killed in between.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.data.append.append import Appended, append
from components.data.append.forget import forget, is_forgotten
from components.data.drops.forgotten import Kind
from components.data.drops.store import Store
from components.errors import StageError
from components.registry.promotion import person
from components.settings.params import Params
from components.storage.layout import Layout
from flows import dvc_lock
from flows.holding import replacing
from flows.repro import dvc_environment, reproduce_all


def append_drop(workspace: Path, params: Params, drop: str, say: Callable[[str], object]) -> Appended:
    """Take in a drop; see `append` for what is raised. Waits while a stage reads the drops that are there."""
    workspace = workspace.resolve()
    store, layout = Store.of(workspace, params.dataset), Layout(workspace, params.dataset)
    with replacing(workspace, say), store.alone():
        done = append(params, layout, store, drop, now=datetime.now(UTC), by=person())
        if store.folder.is_dir():
            _tell_dvc(workspace, store)
    return done


def forget_ids(
    workspace: Path,
    params: Params,
    kind: Kind,
    ids: Sequence[str],
    *,
    by: str | None,
    say: Callable[[str], object],
) -> int:
    """Delete users or items, make the tables again without them, remove scores that name them; returns the exit code.

    by: for the record (None: who runs this). The next retraining makes the bundle without them.
    """
    workspace = workspace.resolve()
    store, layout = Store.of(workspace, params.dataset), Layout(workspace, params.dataset)
    with replacing(workspace, say):
        with store.alone():
            done = forget(layout, store, kind, ids, now=datetime.now(UTC), by=by or person())
            for line in done.lines:
                say(line)
            _tell_dvc(workspace, store)
            _remove_scores(layout, store, say)
        if not layout.interactions.is_file():
            return 0
        outcome = reproduce_all(workspace, "clean" if layout.histories.is_file() else "ingest")
    if outcome.exit_code:
        say(f"error: the tables were not made again: {outcome.message}")
    return outcome.exit_code


def _remove_scores(layout: Layout, store: Store, say: Callable[[str], object]) -> None:
    """Remove the published scores where they name what was deleted: the next scoring makes them again."""
    import polars as pl

    scores = layout.root / "score"
    parts = sorted(scores.glob("part-*.parquet"))
    if any(is_forgotten(store.forgotten(), pl.read_parquet(part, columns=["user_id", "item_ids"])) for part in parts):
        shutil.rmtree(scores)
        shutil.rmtree(scores.parent / ".score.work", ignore_errors=True)
        say(f"removed {scores}, which named them: idiom score makes it again")


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
