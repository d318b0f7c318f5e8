"""The loop's own part of a step, on a weight whose gradient is known: clipping, decay, seeds, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.processes.signals import Stop
from components.progress import Progress
from components.training.checkpoints.checkpoint import Checkpointer, Checkpoints
from components.training.checkpoints.state import TrainingState
from components.training.devices.forward import Compiled
from components.training.devices.micro_batch import MicroBatch
from components.training.devices.ranks import Ranks
from components.training.phases.cold_start import Items
from components.training.steps.loop import Optimisation, train_phase


class Pull:
    """Two epochs of two batches that pull a weight of 1 down with a gradient of 3; each step draws a number."""

    name, round, epochs, peak_lr = "recommender", 1, 2, 0.1

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.module.weight)
        self.micro_batch, self.compiled = MicroBatch(0), Compiled(self.module, "off", torch.device("cpu"))
        self.drawn: list[float] = []
        self.rows: list[dict[str, Any]] = []

    def batches(self, epoch: int) -> list[Items]:
        return [Items(np.arange(2))] * 2

    def loss(self, rows: Items) -> tuple[Tensor, int]:
        self.drawn.append(float(torch.rand(())))
        return 3.0 * len(rows) * self.module.weight.sum(), len(rows)

    def end_epoch(self, epoch: int, row: dict[str, Any]) -> bool:
        self.rows.append(row)
        return False


def trained(folder: Path, *, weight_decay: float = 0.0, grad_clip: float = 1.0) -> Pull:
    phase = Pull()
    state = TrainingState(phase.module, phase.module)
    checkpointer = Checkpointer(state, Checkpoints(folder, "k"), Ranks(), Stop(), seconds=600.0)
    train_phase(phase, state, Optimisation(17, weight_decay, grad_clip, 0.0), Ranks(), checkpointer, Progress())
    return phase


def test_a_clip_of_zero_clips_nothing(tmp_path: Path) -> None:
    """Prevents `grad_clip: 0` from making every gradient nothing: a training that learns nothing and says nothing."""
    assert trained(tmp_path, grad_clip=0.0).module.weight.item() < 0.9


def test_weights_decay_as_they_are_set_to(tmp_path: Path) -> None:
    """Prevents a `weight_decay` that is accepted and not used."""
    weights = [trained(tmp_path, weight_decay=share).module.weight.item() for share in (0.0, 0.5)]
    assert weights[1] < weights[0] - 1e-3


def test_every_step_of_every_epoch_draws_its_own(tmp_path: Path) -> None:
    """Prevents the same dropout masks in each epoch, or in each step of one."""
    assert len(set(trained(tmp_path).drawn)) == 4


def test_the_figures_of_an_epoch_are_its_own(tmp_path: Path) -> None:
    """Prevents a gradient norm that seems to fall from epoch to epoch as it is divided by all steps so far."""
    rows = trained(tmp_path).rows
    assert [row["grad_norm"] for row in rows] == pytest.approx([3.0, 3.0])
    assert [row["target_tokens"] for row in rows] == [4, 4]
