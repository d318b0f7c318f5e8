"""A checkpoint holds all of the state, also what shows in no byte of a short training's pair."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import nn

from components.training.checkpoints.checkpoint import Checkpoints
from components.training.checkpoints.state import Place, Sums, TrainingState
from components.training.devices.cost import Spent

RESUMED = {"generator", "recommender", "optimizer", "table", "best"}
"""What the bytes of a resumed pair show (test_resume.py)."""


def test_every_number_of_the_state_comes_back(tmp_path: Path) -> None:
    """Prevents: patience that counts from nothing after a resume and trains on for longer, costs that begin anew, and
    whatever is added to the state and not to the checkpoint."""

    def state() -> TrainingState:
        return TrainingState(nn.Linear(1, 1), nn.Linear(1, 1))

    saved, loaded, fresh = state(), state(), state()
    saved.place, saved.sums, saved.spent = Place(2, 3, 4), Sums(1.5, 6, 7.5), Spent(8.0, 9.0)
    saved.phase_best, saved.phase_stale, saved.steps, saved.log = 0.25, 2, 10, [{"event": "epoch", "loss": 0.1}]
    checkpoints = Checkpoints(tmp_path, "k")
    checkpoints.save(saved)
    checkpoints.load(1, loaded, lambda place: None)
    for name in {spec.name for spec in fields(TrainingState)} - RESUMED:
        assert getattr(saved, name) != getattr(fresh, name), f"give {name} a value here"
        assert getattr(loaded, name) == getattr(saved, name), name
