"""Who works in a workspace: one retraining at a time, and no scoring that reads what a stage replaces.

    with retraining(workspace):                 # refused where another one runs
        with replacing(workspace, say):         # waits for the scorings that read; only around stages that `read_by`...
            ...
    with reading(workspace, say):               # a scoring: waits for such a stage, not for a training of hours

The locks are the system's: they end with the process that holds them, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from components.errors import StageError
from components.settings.params import Params
from components.storage.layout import Layout
from components.storage.lock import locked, take
from flows.graph import Stage


class Busy(StageError):
    """Another flow works in the workspace."""


def retraining(workspace: Path) -> AbstractContextManager[int]:
    """Be the one retraining of a workspace. Raises `Busy` where there is one already."""
    mend = "wait until it has ended, or end it; then run this again"
    busy = Busy("another retraining runs in this workspace", where=str(workspace), mend=mend)
    return locked(workspace / "work" / "retrain.lock", busy, seconds=0.0)


def replaces_what_scoring_reads(stage: Stage, workspace: Path, params: Params) -> bool:
    """Whether a scoring reads an output of the stage; DVC removes it before it runs the stage."""
    layout = Layout(workspace, params.dataset)
    read = {os.path.relpath(path, workspace) for path in (layout.interactions, layout.bundle)}
    return not read.isdisjoint(stage.outs)


@contextmanager
def replacing(workspace: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Replace what scorings read; waits for those that run, and says so."""
    with _held(workspace, say, "waits for a scoring that reads the model or the interactions", shared=False):
        yield


@contextmanager
def reading(workspace: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Read the model and the interactions; waits while a retraining replaces them, and says so."""
    with _held(workspace, say, "waits for a retraining that replaces the model or the interactions", shared=True):
        yield


def alone(workspace: Path) -> bool:
    """Whether no scoring runs here now, and nobody replaces what one would read."""
    stream = take(_data(workspace))
    if stream is None:
        return False
    stream.close()
    return True


@contextmanager
def _held(workspace: Path, say: Callable[[str], object], waiting: str, *, shared: bool) -> Iterator[None]:
    stream = take(_data(workspace), shared=shared)
    if stream is None:
        say(waiting)
        with locked(_data(workspace), shared=shared):
            yield
        return
    with stream:
        yield


def _data(workspace: Path) -> Path:
    return workspace / "work" / "data.lock"
