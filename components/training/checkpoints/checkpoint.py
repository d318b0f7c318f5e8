"""Checkpoints on disk: whole or not there, the newest two kept; a damaged one is named, and the one before is used.

    checkpoints = Checkpoints(job.work, job.train_key)
    checkpoints.save(state)
    if number := checkpoints.newest(note):          # 0: start from the beginning
        checkpoints.load(number, state, optimizer_at)

Each is a directory of safetensors, parquet and JSON (no pickle) with a SHA-256 per file in a manifest that is written
last, renamed into place when it is complete.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from components.errors import BadInput
from components.processes.signals import Stop
from components.storage.artifacts import publishing, read_json
from components.storage.manifest import verify_manifest, write_manifest
from components.textid.table.id_table import IdTable
from components.training.checkpoints.state import (
    Best,
    Place,
    Sums,
    TrainingState,
    Weights,
    optimizer_tensors,
    restore_optimizer,
    restore_weights,
    weights_of,
)
from components.training.crash import crash_point
from components.training.devices.cost import Meter, Spent
from components.training.devices.ranks import Ranks

FORMAT = 2
KEEP = 2
FINISHED = "finished"
"""File beside the last checkpoint of a training whose pair was published."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Checkpoints:
    """The checkpoints of one training, in its work folder."""

    def __init__(self, work: Path, train_key: str) -> None:
        self._folder = work / "checkpoints"
        self._key = train_key

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint and remove all but the newest two.

        Raises `BadInput` when the disk is full or the folder cannot be written; earlier checkpoints then stay.
        """
        path = self._folder / f"{(self._numbers() or [0])[-1] + 1:08d}"
        try:
            with publishing(path) as temporary:
                temporary.mkdir(parents=True)
                _write(temporary, state, self._key)
        except (OSError, SafetensorError) as error:
            raise _cannot_write(error, path, self._numbers()) from error
        crash_point("checkpoint.published")
        for number in self._numbers()[:-KEEP]:
            shutil.rmtree(self._folder / f"{number:08d}")
        return path

    def newest(self, note: Callable[[str], None]) -> int:
        """Number of the newest whole checkpoint, 0 for none. Damaged ones are named through `note` and removed."""
        for leftover in self._folder.glob(".*"):  # what a killed write left
            shutil.rmtree(leftover)
        for number in reversed(self._numbers()):
            path = self._folder / f"{number:08d}"
            try:
                verify_manifest(path)
                facts = read_json(path / "state.json")
            except BadInput as error:
                note(f"checkpoint {path} is damaged and not used: {error.what} ({error.where})")
                shutil.rmtree(path)
                continue
            if facts["format"] == FORMAT and facts["train_key"] == self._key:
                return number
            note(f"checkpoint {path} belongs to other inputs and is not used")
        return 0

    def load(
        self, number: int, state: TrainingState, optimizer: Callable[[Place], torch.optim.Optimizer | None]
    ) -> None:
        """Put checkpoint `number` into `state`; `optimizer` makes the empty one of the phase at a place."""
        path = self._folder / f"{number:08d}"
        facts = read_json(path / "state.json")
        restore_weights(state.generator, load_file(path / "generator.safetensors"))
        restore_weights(state.recommender, load_file(path / "recommender.safetensors"))
        state.place, state.sums = Place(**facts["place"]), Sums(**facts["sums"])
        state.phase_best, state.phase_stale = facts["phase_best"], facts["phase_stale"]
        state.spent = Spent(**facts["spent"])
        state.steps, state.log = facts["steps"], facts["log"]
        state.table = IdTable.load(path / "id_table.parquet") if (path / "id_table.parquet").exists() else None
        state.best = _read_best(path, facts["best"])
        state.optimizer = None
        if (path / "optimizer.safetensors").exists():
            state.optimizer = optimizer(state.place)
            assert state.optimizer is not None, "only a phase with an optimizer writes one"
            restore_optimizer(state.optimizer, _loaded(path / "optimizer.safetensors"))

    def finish(self) -> None:
        """The pair is published: keep the last checkpoint, and none of trainings that were finished before this one.

        DVC deletes an output before it runs its stage. Killed between here and DVC's lock file, the stage is run again
        without the pair, and publishes it again from this checkpoint instead of training once more.
        """
        for number in self._numbers()[:-1]:
            shutil.rmtree(self._folder / f"{number:08d}")
        for finished in self._folder.parent.parent.glob(f"*/{self._folder.name}/{FINISHED}"):
            if finished.parent != self._folder:
                shutil.rmtree(finished.parent)
        (self._folder / FINISHED).touch()

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self._folder.glob("[0-9]*"))


class Checkpointer:
    """Decides when a checkpoint is written: every `seconds`, at the end of each phase, and when a signal asks to stop.

    The first rank writes it; all ranks hold the same state, so that no message is needed.
    """

    def __init__(
        self, state: TrainingState, checkpoints: Checkpoints, ranks: Ranks, stop: Stop, *, seconds: float
    ) -> None:
        self.stop = stop
        self._state, self._checkpoints, self._ranks = state, checkpoints, ranks
        self._seconds = seconds
        self.meter: Meter | None = None
        """Of the phase in progress."""
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether more than the allowed seconds of work are unsaved."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self) -> None:
        """Write a checkpoint now."""
        if self.meter is not None:
            self._state.spent = self.meter.spent()
        if self._ranks.first:
            self._checkpoints.save(self._state)
        self._saved = time.monotonic()

    def boundary(self, *, stop: bool, due: bool) -> None:
        """Between two steps. Raises `Interrupted` where a stop was asked for; whoever catches it saves."""
        if stop:
            raise self.stop.error()
        if due:
            self.save()


def _write(path: Path, state: TrainingState, key: str) -> None:
    save_file(weights_of(state.generator), path / "generator.safetensors")
    save_file(weights_of(state.recommender), path / "recommender.safetensors")
    crash_point("checkpoint.weights")
    if state.optimizer is not None:
        save_file(optimizer_tensors(state.optimizer), path / "optimizer.safetensors")
    if state.table is not None:
        state.table.save(path / "id_table.parquet")
    if state.best is not None:
        save_file(state.best.generator, path / "best_generator.safetensors")
        save_file(state.best.recommender, path / "best_recommender.safetensors")
        state.best.table.save(path / "best_id_table.parquet")
    (path / "state.json").write_text(json.dumps(_facts(state, key), indent=1), encoding="utf-8")
    crash_point("checkpoint.manifest")
    write_manifest(path)


def _facts(state: TrainingState, key: str) -> dict[str, Any]:
    best = state.best and {name: getattr(state.best, name) for name in ("ndcg", "round", "epoch", "metrics")}
    return {
        "format": FORMAT,
        "train_key": key,
        "place": dataclasses.asdict(state.place),
        "sums": dataclasses.asdict(state.sums),
        "phase_best": state.phase_best,
        "phase_stale": state.phase_stale,
        "spent": dataclasses.asdict(state.spent),
        "steps": state.steps,
        "best": best,
        "log": state.log,
    }


def _read_best(path: Path, facts: dict[str, Any] | None) -> Best | None:
    if facts is None:
        return None
    return Best(
        **facts,
        table=IdTable.load(path / "best_id_table.parquet"),
        generator=_loaded(path / "best_generator.safetensors"),
        recommender=_loaded(path / "best_recommender.safetensors"),
    )


def _loaded(path: Path) -> Weights:
    """Tensors of a file in memory of their own: NFS keeps a mapped file when it is removed, and its folder with it."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def no_space(error: Exception) -> bool:
    """Whether an exception says that the disk (or a quota on it) is full, in Python's words or in safetensors'."""
    return getattr(error, "errno", None) in _FULL or any(f"os error {number}" in str(error) for number in _FULL)


def _cannot_write(error: Exception, path: Path, kept: list[int]) -> BadInput:
    full = no_space(error)
    last = f"checkpoint {kept[-1]:08d} stays" if kept else "no checkpoint was there before"
    return BadInput(
        f"the checkpoint could not be written: {'no space left' if full else error}; {last}",
        where=str(path),
        mend="make room on that disk and run the same command again"
        if full
        else "check the permissions of that folder",
    )
